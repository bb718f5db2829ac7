"""The load of a soak: everything that clients do, at an even pace, with the outcome of each."""

import asyncio
import json
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from bench import bodies, client
from bench.client import Client
from bench.load import is_message, is_stream

# A second of stream, as a short answer takes; the upstream reads it from the message.
PACE = f"bench-{bodies.STREAM_DELTAS}x50ms"
ANSWER_S = 60.0  # more than any answer takes, on a machine that does other work too
AFRESH = 50  # requests until a lane takes a new connection, as clients that come and go
LEAVE_S = (0.0, 1.0)  # after which a client leaves its stream


@dataclass(slots=True)
class Load:
    """What was asked, and how it ended."""

    port: int
    key: str
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        return self.outcomes.total()

    def lanes(self) -> list[Awaitable[None]]:
        """About 130 messages, 20 of them large, 6 streams, 4 that are cut, and so on, a second."""
        small, large = self._message(bodies.small()), self._message(bodies.large())
        stream = self._message(bodies.small(PACE))
        return [
            *[self._lane("message", 0.1, lambda line: _asked(line, small)) for _ in range(6)],
            *[self._lane("large message", 0.1, lambda line: _asked(line, large)) for _ in range(1)],
            *[self._lane("stream", 0.5, lambda line: _streamed(line, stream)) for _ in range(6)],
            *[self._lane("client that leaves", 0.25, lambda line: _left(line, stream))],
            *[self._lane("wrong key", 0.25, self._stranger)],
            *[self._lane(f"tool over {way}", 0.5, self._tool(way)) for way in WAYS for _ in "12"],
            self._lane("scrape", 10.0, self._scrape),
        ]

    async def _lane(self, kind: str, every_s: float, ask: "Ask") -> None:
        """One client: a request, a pause, and now and then a new connection."""
        line: Client | None = None
        number = 0
        await self._pause(random.uniform(0, every_s))  # noqa: S311  # lanes must not march in step
        while not self.over.is_set():
            outcome = "no connection"
            with suppress(OSError):
                if line is None or number % AFRESH == 0 or line.is_gone:
                    if line is not None:
                        line.close()
                    line = await client.connect(self.port)
                outcome = await _bounded(ask(line))
            self.outcomes[kind, outcome] += 1
            number += 1
            await self._pause(every_s)
        if line is not None:
            line.close()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)

    def _message(self, body: bytes) -> bytes:
        return client.request(body, port=self.port, key=self.key)

    async def _stranger(self, line: Client) -> str:
        key = f"oc_{secrets.token_hex(20)}"  # another each time, so that each is looked up
        answer = await line.ask(client.request(bodies.small(), port=self.port, key=key))
        return "refused" if answer.status in {401, 429} else str(answer.status)

    def _tool(self, way: str) -> "Ask":
        async def ask(line: Client) -> str:
            word = secrets.token_hex(4)
            asked = {"server": way, "tool": "look", "arguments": {"word": word}}
            answer = await line.ask(_posted("/api/mcp/execute", asked, self.key))
            return "done" if word.encode() in answer.body else str(answer.status)

        return ask

    async def _scrape(self, line: Client) -> str:
        answer = await line.ask(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        return "done" if answer.status == 200 else str(answer.status)


Ask = Callable[[Client], Awaitable[str]]
WAYS = ("websocket", "polling")


async def _bounded(asked: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await asked
    except TimeoutError:
        return "too late"
    except OSError:
        return "connection lost"


async def _asked(line: Client, request: bytes) -> str:
    answer = await line.ask(request)
    return "done" if is_message(answer) else str(answer.status)


async def _streamed(line: Client, request: bytes) -> str:
    answer = await line.ask(request)
    return "done" if is_stream(bodies.STREAM_DELTAS)(answer) else str(answer.status)


async def _left(line: Client, request: bytes) -> str:
    asked = asyncio.ensure_future(line.ask(request))
    await asyncio.wait([asked], timeout=random.uniform(*LEAVE_S))  # noqa: S311  # anywhere in the answer
    line.close()
    with suppress(OSError):
        await asked
    return "left"


def _posted(path: str, body: object, key: str) -> bytes:
    whole = json.dumps(body).encode()
    return (
        b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    ) % (path.encode(), key.encode(), len(whole), whole)
