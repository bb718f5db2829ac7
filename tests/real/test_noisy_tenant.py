"""A tenant that asks as much as it can beside one that asks a little: the little is all served.

For `make chaos`: how long each waits is a figure, and no figure of a shared machine is a test.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from asgiref.sync import sync_to_async

from mcp.models import ToolCall
from opscenter import env
from tests import gateway as gateways
from tests.connector import ready
from tests.gateway import Gateway

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not env.words("OPSCENTER_CHAOS_SEEDS", []), reason="for `make chaos`"),
]

WANTED_PER_S = 1000  # what the noisy one would like to have
NOISE_S = 10
MOST_OPEN = 200  # of the noisy one at once
CALLS = 2000  # more than a queue takes
QUIET_EVERY_S = 0.05
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}


class Tenant:
    """Who asks, what it was told, and how long it waited."""

    def __init__(self, url: str, key: str) -> None:
        limits = httpx.Limits(max_connections=MOST_OPEN)
        headers = {"authorization": f"Bearer {key}"}
        self.client = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=120, limits=limits, trust_env=False
        )
        self.told: Counter[int] = Counter()
        self.waits_s: list[float] = []
        self.refused_s: list[float] = []

    async def ask(self) -> None:
        began = time.monotonic()
        answer = await self.client.post("/v1/messages", json=BODY)
        self.waits_s.append(time.monotonic() - began)
        self.told[answer.status_code] += 1

    async def call(self) -> int:
        asked = {"server": "files", "tool": "read", "arguments": {"path": "a"}, "wait": False}
        began = time.monotonic()
        status = (await self.client.post("/api/mcp/execute", json=asked)).status_code
        if status == 429:
            self.refused_s.append(time.monotonic() - began)
        return status

    @property
    def p99_ms(self) -> float:
        return sorted(self.waits_s)[int(len(self.waits_s) * 0.99)] * 1000


async def quietly(tenant: Tenant, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await tenant.ask()
        await asyncio.sleep(QUIET_EVERY_S)


async def loudly(tenant: Tenant, seconds: float) -> None:
    until, under_way = time.monotonic() + seconds, set[asyncio.Task[None]]()
    while time.monotonic() < until:
        if len(under_way) < MOST_OPEN:
            task = asyncio.create_task(tenant.ask())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(1 / WANTED_PER_S)
    await asyncio.gather(*under_way)


async def test_the_quiet_one_is_served(gateway: Gateway, charlies_key: str, tmp_path: Path) -> None:
    with gateways.running(tmp_path / "log", OPSCENTER_MEMORY_TTL_S="4") as (url, _):
        quiet, loud = Tenant(url, charlies_key), Tenant(url, gateway.key)
        await quietly(quiet, NOISE_S)
        alone_ms = quiet.p99_ms
        quiet.waits_s.clear()
        async with ready(url, gateway.key):  # it takes no call, so they queue
            queued = Counter([await loud.call() for _ in range(CALLS)])
            full_s = max(loud.refused_s)
            await asyncio.gather(quietly(quiet, NOISE_S), loudly(loud, NOISE_S))
        for one in (quiet, loud):
            await one.client.aclose()
    waiting = await sync_to_async(ToolCall.objects.filter(finished_at__isnull=True).count)()
    assert set(quiet.told) == {200} and set(loud.told) == {200}
    assert set(queued) == {202, 429} and waiting <= queued[202]
    rate = loud.told[200] / NOISE_S
    said = f"{rate:.0f} a second beside, {queued[202]} calls queued, {queued[429]} refused"
    waits = f"p99 {alone_ms:.0f} ms alone and {quiet.p99_ms:.0f} ms beside the noise"
    print(f"\nthe quiet one: {waits}; {said} within {full_s * 1000:.0f} ms")  # noqa: T201
