"""Who runs tools in the chaos, and asks again with the same ids when nobody answers."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from tests.real.machine import Owner

AT_ONCE = 2  # for each machine; most of two cores go to processes that start again
THINK_S = (0.05, 0.25)  # between two calls of one caller
AGAIN_S = (0.05, 0.3)  # after a refusal or a broken connection
DEADLINE_S = 15
PATIENCE_S = 90.0  # a deadline, its grace and a reaper's look; then nobody will ever answer
WORK_MS = 20  # a tool works at most so long
EFFECTS = 0.7  # the share of calls that have some


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a call ended for its caller. Its word is unique; the tool's effects carry it."""

    word: str
    tool: str
    state: str  # "" where nobody ever answered
    waited_s: float  # for the answer, by the request that got it
    tries: int
    began_at: float  # monotonic
    ended_at: float
    told_at: datetime


class Callers:
    """Everybody who asks, until told to stop."""

    def __init__(self, seed: int, url: str, machines: Sequence[tuple[str, Owner]]) -> None:
        self._url = f"{url}/api/mcp/execute"
        self._machines = machines  # the name of the server on each, and whose it is
        self._chance = random.Random(seed)
        self._seed = seed
        self._count = 0
        self.seen: list[Seen] = []

    async def ask(self, stop: asyncio.Event) -> None:
        """Run one tool after the other, several at once; each is waited for to its end."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(
                *(
                    self._one_by_one(session, server, owner, stop)
                    for server, owner in self._machines
                    for _ in range(AT_ONCE)
                )
            )

    async def _one_by_one(
        self, session: aiohttp.ClientSession, server: str, owner: Owner, stop: asyncio.Event
    ) -> None:
        while not stop.is_set():
            self._count += 1
            word = f"chaos-{self._seed}-{self._count}"
            self.seen.append(await self._run(session, server, owner, word))
            await asyncio.sleep(self._chance.uniform(*THINK_S))

    async def _run(
        self, session: aiohttp.ClientSession, server: str, owner: Owner, word: str
    ) -> Seen:
        tool = "leave" if self._chance.random() < EFFECTS else "look"
        body = {
            "server": server,
            "tool": tool,
            "arguments": {"word": word, "ms": self._chance.uniform(0, WORK_MS)},
            "timeout_s": DEADLINE_S,
            "request_id": word,
            "tool_use_id": "use",
        }
        began_at = time.monotonic()
        tries, state, asked_at = 0, "", began_at
        while not state and time.monotonic() - began_at < PATIENCE_S:
            tries, asked_at = tries + 1, time.monotonic()
            state = await self._ask_once(session, owner, body)
            if not state:
                await asyncio.sleep(self._chance.uniform(*AGAIN_S))
        ended_at = time.monotonic()
        return Seen(
            word=word,
            tool=tool,
            state=state,
            waited_s=ended_at - asked_at,
            tries=tries,
            began_at=began_at,
            ended_at=ended_at,
            told_at=datetime.now(UTC),
        )

    async def _ask_once(
        self, session: aiohttp.ClientSession, owner: Owner, body: dict[str, object]
    ) -> str:
        """The state that the call ended in; "" where it has to be asked again."""
        shown = {"authorization": f"Bearer {owner.key}"}
        try:
            async with session.post(self._url, json=body, headers=shown) as response:
                told = await response.read()
                if response.status == 200:
                    return str((await response.json())["state"])
                # The machine is away, its server starts, its queue is full, or the database is.
                assert response.status in {404, 429, 503}, f"{response.status}: {told!r}"
                return ""
        except (aiohttp.ClientError, TimeoutError):
            return ""
