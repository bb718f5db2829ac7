"""`ops-connector status`: whether a connector runs here, and what the gateway knows."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from opscenter_connector.policing import effective, inforce
from opscenter_connector.policing.inforce import InForce
from opscenter_connector.sheets import sheet, stdout
from opscenter_connector.wording import counted, seconds

OTHER = (
    "What this command finds in files, flags and variables says something else: that would hold "
    "after a start of the connector with them."
)
UNTOLD = (
    "That is what files, flags and variables say here; the connector that runs has not written "
    "down what it goes by. Start it again to see."
)
STATE_STYLE = {"active": "green", "offline": "dim", "failed": "red", "starting": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What was found out."""

    runs_here: bool
    policy_runs: bool = False  # the policy is the running connector's, not only the files'
    servers: list[dict[str, Any]]
    tunnel: dict[str, Any]
    problem: str = ""
    exit_code: ExitCode = ExitCode.STOPPED


def main(config: Config, given: Mapping[str, Any]) -> int:
    """Ask both; exit code 1 if the gateway does not answer, 3 if it does not take the key."""
    if config.key_problem:
        raise CredentialError(config.key_problem)
    found, policy = asyncio.run(_find_all(config))
    other = found.policy_runs and not policy.is_of(effective.of(config.settings))
    if "json" in given:
        said = {
            "runs_here": found.runs_here,
            "state_dir": str(config.settings.state_dir),
            "api_url": config.settings.api_url,
            "problem": found.problem,
            "servers": found.servers,
            "tunnel": found.tunnel,
            "policy": policy.policy,
            "policy_runs": found.policy_runs,
            "policy_changes_at_start": other,
        }
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        _show(config, found)
        _show_policy(found, policy, other=other)
    return found.exit_code


async def _find_all(config: Config) -> tuple[Standing, InForce]:
    """Both sides, and the policy of the connector that runs, or of one that would."""
    found, policy = await asyncio.gather(_find(config), _policy(config))
    runs = inforce.read(config.settings.state_dir) if found.runs_here else None
    return (replace(found, policy_runs=True), runs) if runs is not None else (found, policy)


async def _policy(config: Config) -> InForce:
    settings = config.settings
    return inforce.of(settings, await builtinserver.layer_of(settings.local))


async def _find(config: Config) -> Standing:
    settings = config.settings
    runs_here = instance.in_use(settings.state_dir)
    user = quote(settings.user_id, safe="")
    try:
        shown = await bearer(settings)
        servers, tunnel = await asyncio.gather(
            ask(settings, "GET", f"/api/mcp/servers/{user}", shown),
            ask(settings, "GET", "/api/mcp/status", shown),
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


def _show_policy(found: Standing, policy: InForce, *, other: bool) -> None:
    """What is allowed here, asked about and denied."""
    console = stdout()
    whose = "policy of the running connector" if found.policy_runs else "policy of this machine"
    table = sheet("server", "tool", whose)
    for line in policy.lines:
        table.add_row(Text(clean(line.server)), Text(clean(line.tool)), Text(line.decision))
    if table.row_count:
        console.print(table)
    for note in policy.notes:
        console.print(note, style="dim")
    console.print(f"policy version {policy.version[: effective.SHORT]}", style="dim")
    if found.runs_here and not found.policy_runs:
        console.print(UNTOLD, style="yellow")
    elif other:
        console.print(OTHER, style="yellow")


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
