"""What the tests of the tunnel share: who asks for tools, and what is left tidy."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest_asyncio

from accounts.principal import SCOPES, Principal
from accounts.tests.people import Person
from mcp import bell, lastwords, living, threads, tools
from mcp.models import ToolCall
from mcp.threads import off_loop

T = TypeVar("T")
_ids = itertools.count()
rows = off_loop(lambda **wanted: list(ToolCall.objects.filter(**wanted).order_by("id")))


@pytest_asyncio.fixture
async def tidy(transactional_db: None) -> AsyncIterator[None]:
    """What this process did for the tunnel ends with the test."""
    yield
    await lastwords.all_said()
    for session in living.everyone():
        session.forget()
    await bell.shutdown()
    await asyncio.to_thread(threads.close)


def principal_of(person: Person, key_id: str = "") -> Principal:
    """Who asks for tools."""
    return Principal(
        organization_id=person.organization.id,
        user_id=person.user.id,
        key_id=key_id,
        scopes=frozenset(SCOPES),
    )


def run(person: Person, tool: str = "read", **more: Any) -> "asyncio.Task[tools.Ended]":
    """Have a tool of the server `files` run, from another process than the gateway's.

    Nobody rings across processes here, so whatever works works with the bell cut.
    """
    asked: dict[str, Any] = {
        "server": "files",
        "tool": tool,
        "arguments": {"path": "a"},
        "request_id": f"request-{next(_ids)}",
        "tool_use_id": "use",
    }
    return asyncio.create_task(tools.run(principal_of(person), **asked | more))


async def until(look: Callable[[], Awaitable[T]], within_s: float = 15) -> T:
    """What `look` gives, as soon as it gives something."""
    for _ in range(int(within_s * 50)):
        if found := await look():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not happen within {within_s} s")
