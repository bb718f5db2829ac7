"""A real MCP server, written with the SDK, whose tools are slow, fail, crash and change.

`python -m tests.echo_server` speaks over its pipes, with `--http PORT` over HTTP.
"""

import asyncio
import os
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ImageContent, TextContent, ToolAnnotations

server = MCPServer("echo", title="Echo", version="1.0")
READ_ONLY = ToolAnnotations(read_only_hint=True)


def note(line: str) -> None:
    """What has really happened, where a test can see it."""
    with Path(os.environ["ECHO_NOTES"]).open("a") as notes:
        notes.write(line + "\n")


@server.tool(annotations=READ_ONLY)
def say(text: str) -> str:
    """Say it back."""
    return text


@server.tool()
def count(word: str) -> str:
    """Has an effect: one line for each time it ran."""
    note(f"count {word}")
    return word


@server.tool()
async def wait(seconds: float, word: str, ctx: Context) -> str:
    """Take a while, and say how far it is."""
    note(f"began {word}")
    try:
        for step in range(10):
            await ctx.report_progress(step + 1, 10, f"{step + 1} of 10")
            await anyio.sleep(seconds / 10)
    except asyncio.CancelledError:
        note(f"cancelled {word}")
        raise
    note(f"ended {word}")
    return word


@server.tool()
def fail(why: str) -> str:
    """Fail, as tools do."""
    raise ValueError(why)


@server.tool()
def crash(word: str) -> str:
    """End in the middle."""
    note(f"crash {word}")
    sys.stderr.write("out of luck\n")
    sys.stderr.flush()
    os._exit(7)


@server.tool(annotations=READ_ONLY)
def large(size: int) -> list[TextContent | ImageContent]:
    """A large text and a picture."""
    return [
        TextContent(type="text", text="x" * size),
        ImageContent(type="image", data="A" * (size // 4 * 4), mime_type="image/png"),
    ]


@server.tool()
async def learn(word: str, ctx: Context) -> str:
    """Offer one tool more."""

    def learnt(text: str) -> str:
        return text

    server.add_tool(learnt, name=word, description="New.")
    await ctx.notify_tools_changed()
    return word


if __name__ == "__main__":
    if "--refuse" in sys.argv:
        sys.stderr.write("no licence\n")
        sys.exit(3)
    if "--http" in sys.argv:
        server.run("streamable-http", port=int(sys.argv[sys.argv.index("--http") + 1]))
    else:
        server.run("stdio")
