"""`ops-connector tools`: what the local servers offer, without a gateway."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from opscenter_connector import builtinserver, trial
from opscenter_connector.config import Config
from opscenter_connector.endings import ExitCode
from opscenter_connector.frames import Announced
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.plain import clean
from opscenter_connector.policing import effective
from opscenter_connector.settings import LocalSpec, ServerSpec
from opscenter_connector.sheets import sheet, stdout
from opscenter_connector.wording import counted

Decided = Callable[[str, Mapping[str, Any]], str]  # of a server's tool, by the policy here

DESCRIPTION_CHARS = 90  # the first sentence of most; `--json` has all of it

NONE = (
    "no MCP server is configured and no path allowed; name servers with --mcp-config .mcp.json or "
    "in connector.toml (ops-connector init writes one), or a folder with --allowed-paths"
)


def main(config: Config, given: Mapping[str, Any]) -> int:
    """Start all, list, stop; exit code 1 if one does not start."""
    specs = trial.fronted(config.settings)
    if not specs:
        raise ConfigError(NONE)
    found, layer = asyncio.run(_try_all(specs, config.settings.local))
    rules = effective.of(config.settings)

    def decision(server: str, tool: Mapping[str, Any]) -> str:
        return effective.of_tool(rules, server, tool, layer)

    if "json" in given:
        said = {"servers": [_as_json(server, decision) for server in found]}
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        _show(found, decision)
    failed = any(server.state != "ready" for server in found)
    return ExitCode.FAILED if failed else ExitCode.STOPPED


async def _try_all(
    specs: Sequence[LocalSpec | ServerSpec], local: LocalSpec | None
) -> tuple[list[Announced], str]:
    """What each announces, and what would hold commands."""
    trials = asyncio.gather(*(trial.tried(spec) for spec in specs))
    found, layer = await asyncio.gather(trials, builtinserver.layer_of(local))
    return list(found), layer


def _as_json(server: Announced, decision: Decided) -> dict[str, Any]:
    return {
        "name": server.name,
        "transport": server.transport,
        "state": server.state,
        "title": server.title,
        "version": server.version,
        "era": server.era,
        "error": server.error,
        "tools": [
            dict(tool) | {"effects": effects(tool), "policy": decision(server.name, tool)}
            for tool in server.tools
        ],
    }


def effects(tool: Mapping[str, Any]) -> str:
    """What the server says of the tool; what it does not say counts as effects (docs/tunnel.md)."""
    annotations = tool.get("annotations")
    hints = annotations if isinstance(annotations, Mapping) else {}
    if hints.get("readOnlyHint") is True:
        return "read-only"
    if hints.get("idempotentHint") is True:
        return "repeatable"
    # The hint's own default is true, so only a clear no is one.
    return "effects" if hints.get("destructiveHint") is False else "effects!"


def _show(found: Sequence[Announced], decision: Decided) -> None:
    console = stdout()
    ready = [server for server in found if server.state == "ready"]
    if any(server.tools for server in ready):
        console.print(_table(ready, decision))
    for server in found:
        if server.state != "ready":
            console.print(Text(f"✖ {server.name}: {clean(server.error)}", style="red"))
        elif server.error:
            console.print(Text(f"! {server.name}: {clean(server.error)}", style="yellow"))
    tools = sum(len(server.tools) for server in ready)
    fronted = counted(len(ready), "server")
    console.print(f"{fronted}, {counted(tools, 'tool')}", style="dim")


def _table(ready: Sequence[Announced], decision: Decided) -> Table:
    table = sheet("server", "tool", "effects", "policy", "what it says it does")
    for server in ready:
        for tool in server.tools:
            described = tool.get("description") or tool.get("title") or ""
            table.add_row(
                Text(server.name),
                Text(clean(str(tool.get("name", "")), 128)),
                Text(effects(tool), "" if "effects" in effects(tool) else "green"),
                Text(decision(server.name, tool)),
                Text(clean(str(described), DESCRIPTION_CHARS)),
            )
    return table
