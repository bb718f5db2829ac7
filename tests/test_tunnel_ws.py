"""A machine on a WebSocket: it is welcomed, takes calls, and its results arrive."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from accounts.principal import SCOPES, Principal
from accounts.tests.people import Person
from mcp import bell, frames, lastwords, threads, tools
from mcp.models import Connector, ToolCall
from mcp.states import State
from mcp.threads import off_loop
from tests.connector import about, files, machine, ready
from tests.gateway import Gateway

pytestmark = pytest.mark.usefixtures("tidy")
_ids = itertools.count()


@pytest_asyncio.fixture
async def tidy(transactional_db: None) -> AsyncIterator[None]:
    """What this process did for the tunnel ends with the test."""
    yield
    await lastwords.all_said()
    await bell.shutdown()
    await asyncio.to_thread(threads.close)


def principal_of(person: Person) -> Principal:
    """Who asks for tools in these tests."""
    return Principal(
        organization_id=person.organization.id,
        user_id=person.user.id,
        key_id="",
        scopes=frozenset(SCOPES),
    )


def run(person: Person, tool: str = "read", **more: Any) -> "asyncio.Task[tools.Ended]":
    """Run a tool of the server `files`."""
    asked: dict[str, Any] = {"server": "files", "tool": tool, "arguments": {"path": "a"}} | more
    number = str(next(_ids))
    return asyncio.create_task(
        tools.run(principal_of(person), request_id=number, tool_use_id="t", **asked)
    )


async def test_it_runs_a_tool(server: Gateway, key: str, alice: Person) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        assert (call.server, call.method, call.has_effects) == ("files", "tools/call", False)
        assert bytes(call.params) == b'{"name":"read","arguments":{"path":"a"}}'
        assert await laptop.finish(call, "bread") == "accepted"
        ended = await running
    assert (ended.state, ended.is_error) == (State.SUCCEEDED, False)
    assert ended.result["content"] == [{"type": "text", "text": "bread"}]
