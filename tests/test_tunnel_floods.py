"""Floods below the tunnel's own frames: closed with 4429 at once, and nobody else waits."""

import asyncio
import contextlib
import time

import httpx
import pytest

from tests import tunnel
from tests.connector import Machine, machine, ready
from tests.gateway import Gateway

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
# As a client writes them, masked with zeros.
PING = b"\x89\x80" + b"\0" * 4
LONG_PING = b"\x89\xfd" + b"\0" * 129
PONG = b"\x8a\x80" + b"\0" * 4
FRAGMENT = b"\x00\x80" + b"\0" * 4
BEGIN = b"\x01\x81" + b"\0" * 4 + b"{"
FLOOD_BYTES = 3_000_000
MEMORY_MB = 20
WAIT_S = 2.0  # of somebody else, on a loaded machine; without a bound it was ten


@pytest.mark.parametrize(
    ("first", "again"), [(b"", PING), (b"", PONG), (BEGIN, FRAGMENT)], ids=["ping", "pong", "part"]
)
async def test_it_closes_on_a_flood_that_is_no_message(
    server: Gateway, key: str, first: bytes, again: bytes
) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.hello()
        waited_s = asyncio.create_task(longest(server))
        await flood(laptop, first + again * (FLOOD_BYTES // len(again)))
        assert (await laptop.closed())[0] in {4429, 1006}  # reset where not all was read
        assert await waited_s < WAIT_S
    assert "closed with 4429" in server.log.read_text()


async def test_it_keeps_no_answers_for_whoever_reads_none(server: Gateway, key: str) -> None:
    before = server.resident_mb
    async with ready(server.url, key) as laptop:
        laptop.socket.transport.pause_reading()
        await flood(laptop, LONG_PING * 300_000)
        assert server.resident_mb - before < MEMORY_MB
        laptop.socket.transport.resume_reading()


async def flood(laptop: Machine, said: bytes) -> None:
    """Write it past the client's own reading of frames, as far as it is taken."""
    transport = laptop.socket.transport
    for at in range(0, len(said), 64 * 1024):
        with contextlib.suppress(ConnectionError, TimeoutError):
            transport.write(said[at : at + 64 * 1024])
            async with asyncio.timeout(0.2):
                await laptop.socket.drain()
        if transport.is_closing():
            return


async def longest(server: Gateway) -> float:
    """How long the slowest of some requests by somebody else takes."""
    slowest = 0.0
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        for _ in range(20):
            began = time.monotonic()
            await client.get("/api/mcp/poll")
            slowest = max(slowest, time.monotonic() - began)
    return slowest
