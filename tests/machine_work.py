"""What the tests of tools inside a Messages request share: a machine that works, and who asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from mcp import frames
from tests.connector import Machine, about, done, ready
from tests.gateway import Gateway
from tests.legality import check_stream, history_fault
from tests.upstream import MESSAGES, Upstream

BETA = "mcp-client-2025-11-20"
SERVERS = [{"type": "url", "url": "tunnel://laptop/files", "name": "files"}]
TOOLSETS: list[Any] = [{"type": "mcp_toolset", "mcp_server_name": "files"}]
BODY: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "What is in a?"}],
    "mcp_servers": SERVERS,
    "tools": TOOLSETS,
}
EDIT = {"name": "edit", "description": "Edit.", "input_schema": {"type": "object"}}
Says = Callable[[frames.Call], dict[str, Any]]


def content_of(call: frames.Call) -> dict[str, Any]:
    return done(call, "bread and rolls")


@asynccontextmanager
async def laptop(gateway: Gateway, says: Says = content_of) -> AsyncIterator[list[frames.Call]]:
    """A machine that answers each call; the calls it was handed."""
    handed: list[frames.Call] = []
    async with ready(gateway.url, gateway.key) as machine:
        working = asyncio.create_task(_work(machine, handed, says))
        try:
            yield handed
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if not working.cancelled():
            await working


async def _work(machine: Machine, handed: list[frames.Call], says: Says) -> None:
    while True:
        try:
            frame = await machine.hear()
        except TimeoutError:  # nobody calls anything for a while, as where a process starts
            continue
        if isinstance(frame, frames.Call):
            handed.append(frame)
            if not frame.begun:
                await machine.say(about("start", frame))
            await machine.say(says(frame))


async def ask(gateway: Gateway, beta: str = BETA, **more: Any) -> httpx.Response:
    """The request in one piece."""
    headers = gateway.headers | ({"anthropic-beta": beta} if beta else {})
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        url = f"{gateway.url}{MESSAGES}"
        return await client.post(url, json=BODY | more, headers=headers)


async def events_of(gateway: Gateway, beta: str = BETA, **more: Any) -> list[dict[str, Any]]:
    """The events of the same, which must be a legal stream."""
    answer = await ask(gateway, beta, stream=True, **more)
    assert answer.status_code == 200, answer.text
    return events_in(answer)


def events_in(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, which must be legal."""
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    check_stream(events)
    return events


def histories(upstream: Upstream) -> list[list[dict[str, Any]]]:
    """The messages that the upstream was sent, each time; all are legal."""
    found = [request.json["messages"] for request in upstream.sent_to(MESSAGES)]
    assert [history_fault(messages) for messages in found] == [None] * len(found)
    return found
