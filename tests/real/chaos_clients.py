"""What the clients of the chaos ask for, and how they go: to the end, too early, or cut off."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from tests.real.chaos_callers import Caller

PATIENCE_S = 45.0  # the longest answer takes six seconds; who waits longer was forgotten
AT_ONCE = 250  # connections; a machine that is busy falls behind rather than over
SESSIONS = 60
MODELS = ("claude-opus-5-5", "claude-haiku-4-5", "a-model-without-a-price")
TAGS = ("team-a", "team-b", "project:x", "project:y")


class Outcome(StrEnum):
    """What a client saw."""

    WHOLE = "whole"
    LEFT = "left"  # by its own choice
    REFUSED = "refused"  # with a status that says so
    BROKEN = "broken"  # the worker or the upstream went away
    FORGOTTEN = "forgotten"  # no end within PATIENCE_S: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One request, and when its client leaves. Nobody asks twice."""

    name: str  # unique; the upstream sees it and the ledger keeps it
    at_s: float  # in its wave
    caller: Caller
    headers: dict[str, str]
    body: dict[str, Any]
    leaves_after_s: float | None = None
    leaves_after_chunks: int | None = None


def waves(
    seed: int, callers: Sequence[Caller], requests: int, count: int, wave_s: float
) -> Iterator[list[Wish]]:
    """All requests in so many parts of about the same length."""
    chance = random.Random(seed)
    shares = [caller.share for caller in callers]
    for number in range(count):
        names = [f"chaos-{seed}-{n}" for n in range(number, requests, count)]
        yield [
            _wish(name, chance.uniform(0, wave_s), chance.choices(callers, shares)[0], chance)
            for name in names
        ]


def _wish(name: str, at_s: float, caller: Caller, chance: random.Random) -> Wish:
    is_streamed = chance.random() < 0.7
    leaves_after_s = leaves_after_chunks = None
    if chance.random() < 0.25:
        if is_streamed and chance.random() < 0.6:
            leaves_after_chunks = chance.randint(1, 4)
        else:
            leaves_after_s = chance.uniform(0.0, 0.8)
    tags = chance.sample(TAGS, chance.choice((0, 0, 1, 2)))
    return Wish(
        name=name,
        at_s=at_s,
        caller=caller,
        headers={
            "authorization": f"Bearer {caller.key}",
            "anthropic-version": "2023-06-01",
            "x-claude-code-session-id": f"session-{chance.randrange(SESSIONS)}",
            "x-claude-code-agent-id": name,
            **({"x-opscenter-tags": ", ".join(tags)} if tags else {}),
        },
        body={
            "model": chance.choice(MODELS),
            "max_tokens": chance.randint(40, 120),
            "stream": is_streamed,
            "messages": [{"role": "user", "content": "word " * chance.randint(20, 100)}],
        },
        leaves_after_s=leaves_after_s,
        leaves_after_chunks=leaves_after_chunks,
    )


class Clients:
    """Everybody who asks, each once. `address` names a worker that is up."""

    def __init__(self, session: aiohttp.ClientSession, address: Callable[[], str]) -> None:
        self._session = session
        self._address = address
        self._under_way: list[asyncio.Task[Outcome]] = []

    async def send(self, wave: Iterable[Wish]) -> None:
        """Send each at its time, and wait for no answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for wish in sorted(wave, key=lambda one: one.at_s):
            await asyncio.sleep(began + wish.at_s - loop.time())
            url = f"{self._address()}/v1/messages"
            self._under_way.append(loop.create_task(_ask(self._session, url, wish)))

    async def outcomes(self) -> Counter[Outcome]:
        """What they saw, once all is over."""
        return Counter(await asyncio.gather(*self._under_way))


@asynccontextmanager
async def asking(address: Callable[[], str]) -> AsyncIterator[Clients]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE), timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        yield Clients(session, address)


async def _ask(session: aiohttp.ClientSession, url: str, wish: Wish) -> Outcome:
    leaves = wish.leaves_after_s is not None
    try:
        async with asyncio.timeout(wish.leaves_after_s if leaves else PATIENCE_S):
            return await _read(session, url, wish)
    except TimeoutError:
        return Outcome.LEFT if leaves else Outcome.FORGOTTEN
    except aiohttp.ClientError:
        return Outcome.BROKEN


async def _read(session: aiohttp.ClientSession, url: str, wish: Wish) -> Outcome:
    async with session.post(url, json=wish.body, headers=wish.headers) as response:
        if response.status >= 400:
            return Outcome.REFUSED
        chunks, end = 0, b""
        async for chunk in response.content.iter_any():
            chunks, end = chunks + 1, (end + chunk)[-200:]
            if chunks == wish.leaves_after_chunks:
                response.close()
                return Outcome.LEFT
        # A stream that its upstream has cut off ends in an error event.
        is_cut = wish.body["stream"] and b"message_stop" not in end
        return Outcome.BROKEN if is_cut else Outcome.WHOLE
