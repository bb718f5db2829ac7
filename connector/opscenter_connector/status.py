"""`ops-connector status`: whether a connector runs here, and what the gateway knows."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import httpx
from rich.table import Table
from rich.text import Text

from opscenter_connector import builtinserver, instance
from opscenter_connector.asking import ask, base, bearer, fields, reason
from opscenter_connector.config import Config
from opscenter_connector.endings import ExitCode
from opscenter_connector.mistakes import CredentialError
from opscenter_connector.plain import clean
from opscenter_connector.policing import effective
from opscenter_connector.sheets import sheet, stdout
from opscenter_connector.wording import counted, seconds

STATE_STYLE = {"active": "green", "offline": "dim", "failed": "red", "starting": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What was found out."""

    runs_here: bool
    servers: list[dict[str, Any]]
    tunnel: dict[str, Any]
    problem: str = ""
    exit_code: ExitCode = ExitCode.STOPPED


def main(config: Config, given: Mapping[str, Any]) -> int:
    """Ask both; exit code 1 if the gateway does not answer, 3 if it does not take the key."""
    if config.key_problem:
        raise CredentialError(config.key_problem)
    found, layer = asyncio.run(_find_all(config))
    if "json" in given:
        said = {
            "runs_here": found.runs_here,
            "state_dir": str(config.settings.state_dir),
            "api_url": config.settings.api_url,
            "problem": found.problem,
            "servers": found.servers,
            "tunnel": found.tunnel,
            "policy": effective.as_json(config.settings, layer),
        }
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        _show(config, found)
        _show_policy(config, layer)
    return found.exit_code


async def _find_all(config: Config) -> tuple[Standing, str]:
    """Both sides, and what would hold commands here."""
    found, layer = await asyncio.gather(
        _find(config), builtinserver.layer_of(config.settings.local)
    )
    return found, layer


async def _find(config: Config) -> Standing:
    settings = config.settings
    runs_here = instance.in_use(settings.state_dir)
    user = quote(settings.user_id, safe="")
    try:
        servers, tunnel = await asyncio.gather(
            ask(settings, "GET", f"/api/mcp/servers/{user}", bearer(settings)),
            ask(settings, "GET", "/api/mcp/status", bearer(settings)),
        )
    except httpx.HTTPError as error:
        problem = f"no answer: {clean(str(error)) or type(error).__name__}"
        return _failed(runs_here, problem, ExitCode.FAILED)
    if servers.status_code in {401, 403}:
        return _failed(runs_here, reason(servers), ExitCode.CREDENTIAL)
    listed = fields(servers).get("servers")
    if not servers.is_success or not isinstance(listed, list):
        problem = f"{servers.status_code}: {reason(servers)}"
        return _failed(runs_here, problem, ExitCode.FAILED)
    return Standing(
        runs_here=runs_here,
        servers=[server for server in listed if isinstance(server, dict)],
        tunnel=fields(tunnel) if tunnel.is_success else {},
    )


def _failed(runs_here: bool, problem: str, code: ExitCode) -> Standing:
    return Standing(runs_here=runs_here, servers=[], tunnel={}, problem=problem, exit_code=code)


def _show(config: Config, found: Standing) -> None:
    console = stdout()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    runs = "a connector runs" if found.runs_here else "no connector runs"
    grid.add_row("here", Text(f"{runs}, with the state in {config.settings.state_dir}"))
    grid.add_row("gateway", _gateway(config, found))
    console.print(grid)
    if found.servers:
        console.print(_table(found.servers, datetime.now(timezone.utc)))
    elif not found.problem:
        console.print("It knows no server of yours.", style="dim")
    if found.problem:
        console.print("ops-connector doctor says what to do.", style="dim")


def _show_policy(config: Config, layer: str) -> None:
    """What is allowed here, asked about and denied."""
    console, settings = stdout(), config.settings
    table = sheet("server", "tool", "policy of this machine")
    for line in effective.lines(settings, layer):
        table.add_row(Text(line.server), Text(clean(line.tool)), Text(line.decision))
    if table.row_count:
        console.print(table)
    for note in effective.notes(settings):
        console.print(note, style="dim")
    version = effective.version(effective.of(settings), layer)
    console.print(f"policy version {version}", style="dim")


def _gateway(config: Config, found: Standing) -> Text:
    where = base(config.settings)
    if found.problem:
        return Text(f"{where}: {found.problem}", style="red")
    tunnel = found.tunnel
    machines = _number(tunnel, "websocket_connections") + _number(tunnel, "polling_queues")
    text = (
        f"{where}: {counted(machines, 'machine')} connected; "
        f"{_number(tunnel, 'pending_calls')} calls wait, "
        f"{_number(tunnel, 'pending_results')} run"
    )
    return Text(text)


def _number(said: Mapping[str, Any], key: str) -> int:
    value = said.get(key)
    return value if type(value) is int else 0


def _table(servers: list[dict[str, Any]], now: datetime) -> Table:
    table = sheet("server", "state", "tools", "machine", "by", "last seen")
    for server in servers:
        machine = server.get("connector")
        machine = machine if isinstance(machine, dict) else {}
        state = clean(str(server.get("status", "")))
        tools = server.get("tools")
        error = clean(str(server.get("error") or ""), 80)
        table.add_row(
            Text(clean(str(server.get("name", "")))),
            Text(f"{state}: {error}" if error else state, STATE_STYLE.get(state, "")),
            Text(str(len(tools)) if isinstance(tools, list) else "?"),
            Text(clean(str(machine.get("name", "")))),
            Text(clean(str(server.get("method", "")))),
            Text(_ago(machine.get("last_seen_at"), now), "dim"),
        )
    return table


def _ago(said: Any, now: datetime) -> str:
    try:
        then = datetime.fromisoformat(str(said).replace("Z", "+00:00"))
        return f"{seconds(max((now - then).total_seconds(), 1))} ago"
    except (ValueError, TypeError):
        return "never"
