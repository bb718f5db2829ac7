"""A stop of the server, and requests that are on their way to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from opscenter import lingering
from opscenter.lingering import LingeringHttp

ASKED = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LONG_S = 30.0


class Told:
    """An application that answers when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(
        self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await self.may_answer.wait()
        await send({"type": "http.response.body"})


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def server(told: Told) -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(told, port=0, http=LingeringHttp, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server
    await asyncio.wait_for(server.shutdown(), LONG_S)


async def connected(server: uvicorn.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that the server has taken."""
    (listening,) = server.servers
    before = len(server.server_state.connections)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname()[:2])
    await until(lambda: len(server.server_state.connections) > before)
    return reader, writer


async def until(found: Callable[[], bool]) -> None:
    for _ in range(1000):
        await asyncio.sleep(0)
        if found():
            return
    raise AssertionError("it did not happen")


async def stopped(server: uvicorn.Server) -> "asyncio.Task[None]":
    """The stop, when all its connections know of it."""
    stopping = asyncio.create_task(server.shutdown())
    await until(lambda: not server.servers[0].is_serving())
    return stopping


async def test_what_comes_is_still_answered(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", LONG_S)  # a slow machine must not end it
    new = await connected(server)
    kept = await connected(server)
    kept[1].write(ASKED)
    assert b"204" in await kept[0].readuntil(b"\r\n\r\n")
    server.server_state.default_headers.append((b"connection", b"close"))
    stopping = await stopped(server)
    for reader, writer in (new, kept):
        writer.write(ASKED)
        head = await asyncio.wait_for(reader.read(), LONG_S)
        assert head.startswith(b"HTTP/1.1 204") and b"connection: close" in head
        writer.close()
    await asyncio.wait_for(stopping, LONG_S / 2)  # nobody is there any more


async def test_what_ends_during_the_stop_may_ask_once_more(
    server: uvicorn.Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", LONG_S)  # a slow machine must not end it
    reader, writer = await connected(server)
    told.may_answer.clear()
    writer.write(ASKED)
    await reader.readuntil(b"\r\n\r\n")
    server.server_state.default_headers.append((b"connection", b"close"))
    stopping = await stopped(server)
    told.may_answer.set()
    writer.write(ASKED)
    head = await asyncio.wait_for(reader.read(), LONG_S)
    assert head.startswith(b"HTTP/1.1 204") and b"connection: close" in head
    writer.close()
    await asyncio.wait_for(stopping, LONG_S / 2)


async def test_who_says_nothing_is_not_waited_for(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.01)  # nothing comes: no need to wait for it
    reader, writer = await connected(server)
    stopping = await stopped(server)
    assert await asyncio.wait_for(reader.read(), LONG_S) == b""
    await asyncio.wait_for(stopping, LONG_S)
    writer.close()
