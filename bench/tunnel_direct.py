"""The floor of a tool call: its MCP server asked directly, by the same SDK on the same machine.

Runs in the connector's environment: `python bench/tunnel_direct.py COUNT PYTHON SERVER NOTES`.
"""

import asyncio
import json
import sys
from time import perf_counter

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

WARM = 20


async def main(count: int, command: str, *args: str) -> None:
    """Print the seconds that each call took, as JSON."""
    took = []
    async with Client(stdio_client(StdioServerParameters(command=command, args=list(args)))) as it:
        for number in range(WARM + count):
            began = perf_counter()
            await it.call_tool("look", {"word": f"w{number}"})
            took.append(perf_counter() - began)
    sys.stdout.write(json.dumps(took[WARM:]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
