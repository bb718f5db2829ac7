"""What a scripted upstream sends: a status, headers, and steps taken one after another."""

import asyncio
import enum
import itertools
import json
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from uuid import uuid4

from tests.turns import Event, Turn

HOLD_S = 60.0  # no test holds an answer this long; a gate nobody opened must not hang the run

Headers = Mapping[str, str]


class Gate:
    """A step that holds the answer until the test opens it, from whichever thread."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def passed(self) -> None:
        self.reached.set()
        # Shielded: a client that leaves cancels its own wait, not everybody's gate.
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._opened)), HOLD_S)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Endless:
    """The same bytes again and again until the client leaves."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class Later:
    """Bytes that are only known when it is their turn."""

    say: Callable[[], Awaitable[bytes]]


class End(enum.Enum):
    """How an answer stops without being finished."""

    CUT = "close the connection"
    HANG = "send nothing more and keep the connection"


Step = bytes | Later | Pause | Gate | Endless | End


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Its head goes out with the first bytes, even empty ones: a CUT before any has no status."""

    steps: tuple[Step, ...]
    status: int = 200
    headers: Headers = field(default_factory=dict)
    length: int | None = None  # as Content-Length; None is chunked, one chunk for each bytes step


def whole(body: bytes, *, status: int, headers: Headers) -> Answer:
    return Answer(steps=(body,), status=status, headers=headers, length=len(body))


def as_json(body: object, *, status: int = 200, headers: Headers | None = None) -> Answer:
    described = {"content-type": "application/json", **(headers or {})}
    return whole(json.dumps(body).encode(), status=status, headers=described)


def as_html(text: str, *, status: int = 502, headers: Headers | None = None) -> Answer:
    described = {"content-type": "text/html", **(headers or {})}
    return whole(text.encode(), status=status, headers=described)


def error(status: int, kind: str, message: str, *, headers: Headers | None = None) -> Answer:
    named = request_id()
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": named}
    return as_json(body, status=status, headers={"request-id": named, **(headers or {})})


def gone() -> Answer:
    """The connection dies before the first byte."""
    return Answer(steps=(End.CUT,))


def silent() -> Answer:
    """Nothing comes, not even a status."""
    return Answer(steps=(End.HANG,))


def sse(event: Event) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def stream(parts: Iterable[Event | Step], *, headers: Headers | None = None) -> Answer:
    """Server-sent events. Each event, and each bytes step, is one write and one HTTP chunk."""
    steps = tuple(sse(part) if isinstance(part, dict) else part for part in parts)
    described = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    return Answer(steps=steps, headers=described | dict(headers or {}))


def cut_at(parts: Iterable[Event | bytes], *positions: int) -> list[bytes]:
    """The same bytes, in pieces that end at these positions: `stream(cut_at(events, 1, 7))`."""
    body = b"".join(sse(part) if isinstance(part, dict) else part for part in parts)
    edges = [0, *sorted({p for p in positions if 0 < p < len(body)}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def lost_after(count: int, parts: Iterable[Event | bytes]) -> list[Step]:
    """The first `count` bytes, after which the connection dies; 0 is after the head alone."""
    return [b"".join(cut_at(parts))[:count], End.CUT]


def rendered(turn: Turn, *, model: str, streaming: bool) -> Answer:
    return stream(turn.events(model)) if streaming else as_json(turn.message(model))


def request_id() -> str:
    return f"req_{uuid4().hex}"
