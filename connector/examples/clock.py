"""A tiny MCP server to try the connector with: what time it is here, and a slow one."""

from datetime import datetime, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

server = MCPServer("clock", version="1.0")
READS = ToolAnnotations(read_only_hint=True)
SECONDS_MOST = 300


@server.tool(annotations=READS)
def now(zone: str = "") -> str:
    """The time on this machine, or in a zone like Europe/Berlin."""
    try:
        here = datetime.now(timezone.utc).astimezone(ZoneInfo(zone) if zone else None)
    except (ZoneInfoNotFoundError, ValueError):
        raise ToolError(f"{zone!r} is no time zone known here") from None
    return here.isoformat(timespec="seconds")


@server.tool(annotations=READS)
async def count_down(seconds: int, context: Context) -> str:
    """Wait some seconds, and say meanwhile how many are left."""
    seconds = max(0, min(seconds, SECONDS_MOST))
    for passed in range(seconds):
        await context.report_progress(passed, seconds, f"{seconds - passed} s left")
        await anyio.sleep(1)
    return f"{seconds} s are over"


if __name__ == "__main__":
    server.run()
