"""An MCP server with effects that can be counted. Runs in the connector's environment.

`python effects_server.py FILE`: every effect is a line appended to FILE.
"""

import asyncio
import os
import sys

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("effects", title="Effects", version="1.0")
READ_ONLY = ToolAnnotations(read_only_hint=True)
_file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _note(line: str) -> None:
    os.write(_file, f"{line}\n".encode())  # one write: lines of several processes do not mix


@server.tool()
async def leave(word: str, ms: float = 0) -> str:
    """Leave a line in the file at once, and answer a little later."""
    _note(f"left {word}")
    await asyncio.sleep(ms / 1000)
    return word


@server.tool(annotations=READ_ONLY)
async def look(word: str, ms: float = 0) -> str:
    """Change nothing."""
    await asyncio.sleep(ms / 1000)
    return word


@server.tool(annotations=READ_ONLY)
def large(size: int) -> str:
    """A text of so many characters."""
    return "x" * size


@server.tool()
async def slow(word: str, seconds: float, ctx: Context) -> str:
    """Leave lines at the beginning and at the end, and say in between how far it is."""
    _note(f"began {word}")
    try:
        for step in range(10):
            await ctx.report_progress(step + 1, 10, f"{step + 1} of 10")
            await asyncio.sleep(seconds / 10)
    except asyncio.CancelledError:
        _note(f"cancelled {word}")
        raise
    _note(f"ended {word}")
    return word


if __name__ == "__main__":
    server.run("stdio")
