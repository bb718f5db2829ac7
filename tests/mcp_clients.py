"""Clients of the scripted MCP server, for tests of the wire alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp import dialing, targets
from mcp.exchange import Exchange
from mcp.remote import Remote
from mcp.targets import Allowed
from tests.mcp_http import LEGACY, MODERN, Json, McpHttp

WITHIN_S = 15  # a bound for what takes milliseconds
LOCAL = targets.allowed(["127.0.0.1", "localhost"])
assert isinstance(LOCAL, Allowed)


def aimed(url: str, credential: str = "") -> Remote:
    assert isinstance(LOCAL, Allowed)
    target = targets.checked(url, LOCAL)
    return Remote(Exchange(dialing.client(target, LOCAL, silent_s=10), target.url, credential))


@pytest.fixture
async def remote(mcp_http: McpHttp) -> AsyncIterator[Remote]:
    remote = aimed(mcp_http.url)
    async with asyncio.timeout(60):
        yield remote
        await remote.close()


@pytest.fixture(params=[MODERN, LEGACY])
def era(request: pytest.FixtureRequest, mcp_http: McpHttp) -> str:
    mcp_http.era = request.param
    return mcp_http.era


async def called(remote: Remote, name: str, arguments: Json | None = None, **more: Any) -> Json:
    params = {"name": name} if arguments is None else {"name": name, "arguments": arguments}
    found: Json = json.loads(bytes(await remote.ask("tools/call", params, **more)))
    return found
