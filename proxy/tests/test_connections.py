"""Connections to upstreams: which are kept, where names lead, and what is trusted."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import resolver

from proxy import connections, upstream
from proxy.adapters.language import Asked
from proxy.answer import (
    Answer,
    UpstreamDroppedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from proxy.connections import OffLimitsError
from proxy.routing import Target
from proxy.tests.rules import target
from proxy.tests.rules import upstream as config

ASKED = Asked(path="/v1/messages", headers={}, body=b"{}", stream=False)
GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
WAIT_S = 10

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """The loop's connections end with it."""
    yield
    await connections.shutdown()


class Peer:
    """Answers `good` requests on each connection; the next it only receives."""

    def __init__(self, good: int, *, reset: bool = False) -> None:
        self.connections = 0
        self.asked = 0
        self._good = good
        self._reset = reset

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for number in range(self._good + 1):
            await reader.readuntil(b"{}")
            self.asked += 1
            if number < self._good:
                writer.write(GOOD)
        if self._reset:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


@asynccontextmanager
async def serving(peer: Serve) -> AsyncIterator[Target]:
    """A target where `peer` serves each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield target(base_url=f"http://127.0.0.1:{port}")
        await connections.shutdown()


async def asked(to: Target, *, fresh: bool = False, counting: bool = False) -> Answer:
    return await upstream.ask(to, ASKED, within_s=WAIT_S, fresh=fresh, counting=counting)


@pytest.mark.parametrize("reset", [False, True])
async def test_it_tells_a_dropped_connection_from_an_upstream_that_is_gone(reset: bool) -> None:
    async with serving(Peer(1, reset=reset)) as to:
        assert (await asked(to)).status == 200
        with pytest.raises(UpstreamDroppedError):
            await asked(to)
    async with serving(Peer(0, reset=reset)) as to:
        with pytest.raises(UpstreamUnreachableError) as failed:
            await asked(to)
        assert not isinstance(failed.value, UpstreamDroppedError)


async def test_it_keeps_a_connection_for_the_next_request() -> None:
    peer = Peer(5)
    async with serving(peer) as to:
        for _ in range(5):
            await asked(to)
    assert (peer.connections, peer.asked) == (1, 5)


async def test_it_takes_a_new_connection_where_kept_ones_may_be_dead() -> None:
    peer = Peer(5)
    async with serving(peer) as to:
        await asked(to)
        await asked(to, fresh=True)
        await asked(to, fresh=True)
    assert peer.connections == 3


async def test_it_counts_on_connections_of_their_own() -> None:
    peer = Peer(5)
    async with serving(peer) as to:
        await asked(to)
        await asked(to, counting=True)
        await asked(to, counting=True)
    assert peer.connections == 2


async def test_it_does_not_take_an_answer_that_breaks_for_a_dropped_connection() -> None:
    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(GOOD)
        await reader.readuntil(b"{}")
        writer.write(GOOD[:-1])
        await writer.drain()

    async with serving(breaking) as to:
        await asked(to)
        with pytest.raises(UpstreamUnreachableError) as failed:
            await asked(to)
    assert not isinstance(failed.value, UpstreamDroppedError)


def leading_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name is found at these addresses."""

    async def resolve(
        made: object, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[dict[str, object]]:
        found = {"hostname": host, "port": port, "family": family, "proto": 0, "flags": 0}
        return [found | {"host": address} for address in addresses]

    monkeypatch.setattr(resolver.ThreadedResolver, "resolve", resolve)


@pytest.mark.parametrize(
    "addresses", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"], ["fe80::1"]]
)
async def test_it_does_not_follow_a_name_to_a_link_local_address(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    leading_to(monkeypatch, *addresses)
    with pytest.raises(UpstreamUnreachableError) as failed:
        await asked(target(base_url="http://inside.example:9"))
    assert "169.254" not in str(failed.value)
    assert "link-local" in repr(failed.value.__cause__)


async def test_it_follows_a_name_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    leading_to(monkeypatch, "127.0.0.1")
    async with serving(Peer(1)) as to:
        port = to.upstream.base_url.rpartition(":")[2]
        assert (await asked(target(base_url=f"http://inside.example:{port}"))).status == 200


async def test_it_looks_no_name_up_for_an_upstream_that_may_be_anywhere() -> None:
    """Such an upstream has connections of its own: nobody else can be led over them."""
    free = connections.session(config(private_networks=True), counting=False, fresh=False)
    guarded = connections.session(config(), counting=False, fresh=False)
    assert free is not guarded
    assert connections.session(config("b"), counting=False, fresh=False) is guarded
    to = target(base_url="http://169.254.169.254:9")
    with pytest.raises(UpstreamUnreachableError) as failed:
        await asked(to)
    assert isinstance(failed.value.__cause__, OffLimitsError)


async def test_it_waits_for_an_answer_as_long_as_it_is_told() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as to:
        with pytest.raises(UpstreamTimeoutError):
            await upstream.ask(to, ASKED, within_s=0.1)


@pytest.mark.parametrize(("own", "seconds"), [(None, 10.0), (0.5, 0.5)])
def test_it_bounds_the_connecting(own: float | None, seconds: float) -> None:
    found = connections.timeouts(own)
    assert (found.connect, found.sock_connect, found.total) == (seconds, seconds, None)


def test_it_trusts_what_the_operator_says() -> None:
    assert connections.tls(config()) is True
    assert connections.tls(config(tls_verify=False)) is False
    with pytest.raises(ssl.SSLError):
        connections.tls(config(tls_ca="no certificate"))


async def test_it_keeps_no_cookies_and_unpacks_nothing() -> None:
    made = connections.session(config(), counting=False, fresh=False)
    assert isinstance(made.cookie_jar, aiohttp.DummyCookieJar)
    assert not made.auto_decompress


async def test_it_closes_all_connections_of_its_loop() -> None:
    made = [
        connections.session(config(), counting=counting, fresh=fresh)
        for counting in (True, False)
        for fresh in (True, False)
    ]
    await connections.shutdown()
    assert all(each.closed for each in made)
