"""The bell: wakes who waits for a row, in this process and in the others.

A ring may be lost, for the row is the truth. While anybody listens, the process asks the database
once a second for everything that nobody rang for.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer

from mcp import unheard
from mcp.ending import End

log = logging.getLogger(__name__)

POLL_S = 1.0  # a lost ring costs at most this
MAX_NOTES = 64  # unread, for one listener; the oldest go first: the look of every second finds them
MAX_OUTGOING = 1000  # rings that the layer has not taken; with one that hangs the rest are lost
LAYER_S = 2.0  # a layer that has not answered by then is away
REST_S = 1.0  # between two tries of a layer that is away
MAX_CARRIED = 16 * 1024  # characters of a result told to other processes; each of them reads it
GROUP = "tunnel"
_OWN = uuid4().hex
_ANY = UUID(int=0)  # where those listen who hear everything

WORK = "work"  # of a connector: there may be a call or a cancellation for it; or this new `call`
EPOCH = "epoch"  # of a connector: it has opened a newer session
ENDED = "ended"  # of a call
PROGRESS = "progress"  # of a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was rung."""

    kind: str
    body: dict[str, Any]


@dataclass(slots=True, eq=False)
class Ear:
    """One listener to one topic."""

    _notes: deque[Note] = field(default_factory=lambda: deque(maxlen=MAX_NOTES))
    _rung: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, note: Note) -> None:
        if not self._notes or self._notes[-1] != note:
            self._notes.append(note)
        self._rung.set()

    def forget(self, notes: Iterable[Note]) -> None:
        """They say nothing new any more."""
        for note in notes:
            with suppress(ValueError):
                self._notes.remove(note)

    @property
    def has_heard(self) -> bool:
        """Whether there is something that nobody has waited for yet."""
        return bool(self._notes)

    def rouse(self) -> None:
        """Wake whoever waits, with nothing new to hear."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> list[Note]:
        """What was heard since the last time, as soon as there is something; [] after that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # wait_for may lose that we are cancelled
                await self._rung.wait()
        self._rung.clear()
        heard = list(self._notes)
        self._notes.clear()
        return heard


class Listening:
    """An ear that is open from `start` to `end`, or in a `with` block."""

    def __init__(
        self, ears: dict[UUID, set[Ear]], row: UUID, has_opened: Callable[[], None]
    ) -> None:
        self._ears, self._row, self._has_opened = ears, row, has_opened
        self.ear = Ear()

    def start(self) -> Ear:
        self._ears.setdefault(self._row, set()).add(self.ear)
        self._has_opened()
        return self.ear

    def end(self) -> None:
        mine = self._ears.get(self._row)
        if mine is not None:
            mine.discard(self.ear)
            if not mine:
                del self._ears[self._row]

    def __enter__(self) -> Ear:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()


class Bell:
    """The listeners on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connectors: dict[UUID, set[Ear]] = {}
        self._calls: dict[UUID, set[Ear]] = {}
        self._all: dict[UUID, set[Ear]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._outgoing: deque[dict[str, Any]] = deque(maxlen=MAX_OUTGOING)
        self._send_now = asyncio.Event()
        self._others: list[asyncio.Task[None]] = []

    def of_connector(self, row: UUID) -> Listening:
        """Hear of this connector's work."""
        return self._listening(self._connectors, row)

    def of_call(self, row: UUID) -> Listening:
        """Hear of this call's progress and end."""
        return self._listening(self._calls, row)

    def of_all(self) -> Listening:
        """Hear whatever is rung, by any process. What nobody rang for is not looked for."""
        return Listening(self._all, _ANY, lambda: None)

    def is_waited_for(self, call: UUID) -> bool:
        """Whether anybody here listens for this call's end."""
        return call in self._calls

    def _listening(self, ears: dict[UUID, set[Ear]], row: UUID) -> Listening:
        return Listening(ears, row, self._poll_while_heard)

    def hear(self, topic: str, row: UUID, note: Note) -> None:
        """A ring, from wherever it came."""
        ears = self._connectors if topic == "connector" else self._calls
        for ear in (*ears.get(row, ()), *self._all.get(_ANY, ())):
            ear.hear(note)

    def tell_others(self, ring: dict[str, Any]) -> None:
        """Have the other processes hear it too, soon and perhaps."""
        if self._others:
            self._outgoing.append(ring)
            self._send_now.set()

    def connect(self) -> None:
        """Ring for other processes, and hear them, where there is a layer that reaches them."""
        layer = get_channel_layer()
        if layer is None or isinstance(layer, InMemoryChannelLayer):
            return  # there nobody else would hear it
        for work in (self._send, self._receive):
            self._others.append(self._loop.create_task(_for_ever(work, layer)))

    async def close(self) -> None:
        """End what runs here."""
        tasks = [*self._others, *([self._polling] if self._polling else [])]
        self._others.clear()
        self._polling = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, layer: BaseChannelLayer) -> None:
        await self._send_now.wait()
        self._send_now.clear()
        rings = list(self._outgoing)
        self._outgoing.clear()
        message = {"type": "rings", "from": _OWN, "rings": rings}
        async with asyncio.timeout(LAYER_S):
            await layer.group_send(GROUP, message)

    async def _receive(self, layer: BaseChannelLayer) -> None:
        try:
            async with asyncio.timeout(LAYER_S):
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
        except Exception:
            await layer.flush()  # else it would keep messages for a channel that nobody reads
            raise
        while True:  # the layer joins again by itself when Redis has been away
            self._heard_from_afar(await layer.receive(channel))

    def _heard_from_afar(self, message: dict[str, Any]) -> None:
        if message["from"] == _OWN:
            return
        for ring in message["rings"]:
            note = Note(kind=ring["kind"], body=ring["body"])
            self.hear(ring["topic"], UUID(ring["id"]), note)

    def _poll_while_heard(self) -> None:
        if self._polling is None or self._polling.done():
            self._polling = self._loop.create_task(self._poll())

    async def _poll(self) -> None:
        is_away = False
        while self._connectors or self._calls:
            await asyncio.sleep(POLL_S)
            try:
                await self.look()
                is_away = False
            except Exception as error:  # whatever it is, in a second it may be over
                if not is_away:
                    log.warning("calls are not looked for while the database is away: %r", error)
                is_away = True

    async def look(self) -> None:
        """Ring for everything here that the database says has happened."""
        found = await unheard.find(bool(self._connectors), list(self._calls))
        for row in found.busy:
            self.hear("connector", row, Note(kind=WORK, body={}))
        for row, epoch in found.epochs:
            self.hear("connector", row, Note(kind=EPOCH, body={"epoch": epoch}))
        for row, progress in found.progress:
            self.hear("call", row, Note(kind=PROGRESS, body=progress))
        for row in found.ended:
            self.hear("call", row, Note(kind=ENDED, body={}))


async def _for_ever(
    work: Callable[[BaseChannelLayer], Awaitable[None]], layer: BaseChannelLayer
) -> None:
    is_away = False
    while True:
        try:
            await work(layer)
            is_away = False
        except Exception as error:  # each layer has errors of its own; none of them matters
            if not is_away:
                log.warning("other processes are not rung for: the channel layer fails: %r", error)
            is_away = True
            await asyncio.sleep(REST_S)


_bells: dict[asyncio.AbstractEventLoop, Bell] = {}  # until its loop says `shutdown`


def current() -> Bell:
    """The bell of the running event loop."""
    loop = asyncio.get_running_loop()
    bell = _bells.get(loop)
    if bell is None:
        bell = _bells[loop] = Bell(loop)
    return bell


def ring_connector(row: UUID, kind: str = WORK, body: dict[str, Any] | None = None) -> None:
    """Wake the connector's session, wherever it is. From any thread; it never waits or raises."""
    _ring("connector", row, Note(kind=kind, body=body or {}))


def ring_call(row: UUID, kind: str = ENDED, body: dict[str, Any] | None = None) -> None:
    """Wake whoever waits for the call. From any thread; it never waits or raises."""
    _ring("call", row, Note(kind=kind, body=body or {}))


def ring_end(row: UUID, end: End | None) -> None:
    """As `ring_call`, with how the call ended, if that is known: then nobody has to look."""
    told = None if end is None else [end.state, end.outcome, end.result]
    ring_call(row, ENDED, {} if told is None else {"end": told})


def _ring(topic: str, row: UUID, note: Note) -> None:
    body = {} if _is_long(note) else note.body
    ring = {"topic": topic, "id": row.hex, "kind": note.kind, "body": body}
    for loop, bell in list(_bells.items()):
        with suppress(RuntimeError):  # a loop that has just been closed
            loop.call_soon_threadsafe(_ring_on, bell, topic, row, note, ring)


def _ring_on(bell: Bell, topic: str, row: UUID, note: Note, ring: dict[str, Any]) -> None:
    bell.hear(topic, row, note)
    bell.tell_others(ring)


def _is_long(note: Note) -> bool:
    *_, result = note.body.get("end", [""])
    return len(result or "") > MAX_CARRIED


async def shutdown() -> None:
    """End the running loop's bell, if it has one."""
    bell = _bells.pop(asyncio.get_running_loop(), None)
    if bell is not None:
        await bell.close()
