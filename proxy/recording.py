"""An answer as it is told, for all who listen: each hears it from its beginning."""

import asyncio
from collections.abc import Callable
from typing import Self

from proxy.answer import Answer

MOST_BYTES = 8 * 1024 * 1024  # a hundred results of the longest kind, and the words between them
WINDOW_BYTES = 256 * 1024  # of one that is too long to be kept: so far may its listener lag behind


class Budget:
    """What all recordings of a process hold together. `make_room` says whether it made any."""

    def __init__(self, most_bytes: int, make_room: Callable[[], bool]) -> None:
        self.held = 0
        self._most_bytes = most_bytes
        self._make_room = make_room

    def has_room(self) -> bool:
        while self.held > self._most_bytes and self._make_room():
            pass
        return self.held <= self._most_bytes


class Recording:
    """Blocks of whole events. All are kept, unless there are too many."""

    def __init__(self, budget: Budget) -> None:
        self.is_kept = True  # from its beginning: somebody new may listen
        self._budget = budget
        self._blocks: list[bytes] = []
        self._gone = 0  # blocks that all have heard and that are not kept
        self._size = 0
        self._is_over = False
        self._listeners: set[Listener] = set()
        self._room = asyncio.Event()

    def add(self, block: bytes) -> None:
        """Tell it."""
        self._blocks.append(block)
        self._grow(len(block))
        self._wake()
        self.is_kept = self.is_kept and self._size <= MOST_BYTES and self._budget.has_room()

    async def room(self) -> None:
        """Wait for those who listen, where it is not kept and they are far behind."""
        while not self.is_kept and self._is_far_ahead():
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """There is no more."""
        self._is_over = True
        self._wake()

    def release(self) -> None:
        """It is not kept for anybody new; whoever listens hears it to its end."""
        self._budget.held -= self._size
        self._size = 0

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self, has_left: Callable[[], None]) -> "Listener":
        """Somebody new, while it is kept. `has_left` is called once, when they stop."""
        listener = Listener(self, has_left)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: "Listener") -> bool:
        """Whether the listener had been there."""
        was_there = listener in self._listeners
        self._listeners.discard(listener)
        self._room.set()
        return was_there

    def at(self, place: int) -> bytes:
        """A block by its place from the beginning; empty where it is not told yet."""
        here = place - self._gone
        self._room.set()
        return self._blocks[here] if here < len(self._blocks) else b""

    @property
    def is_over(self) -> bool:
        return self._is_over

    def _is_far_ahead(self) -> bool:
        """Whether those who listen are far behind; what all have heard is forgotten."""
        end = self._gone + len(self._blocks)
        heard = min((one.place for one in self._listeners), default=end) - self._gone
        self._grow(-sum(len(block) for block in self._blocks[:heard]))
        del self._blocks[:heard]
        self._gone += heard
        return self._size > WINDOW_BYTES

    def _grow(self, size: int) -> None:
        self._size += size
        self._budget.held += size

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.has_more.set()


class Listener:
    """Somebody who hears a recording from its beginning: a stream for a client."""

    def __init__(self, recording: Recording, has_left: Callable[[], None]) -> None:
        self.answer = Answer(status=200)
        self.place = 0  # of the next block
        self.has_more = asyncio.Event()
        self._recording = recording
        self._has_left = has_left

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            self.has_more.clear()
            if block := self._recording.at(self.place):
                self.place += 1
                return block
            if self._recording.is_over:
                raise StopAsyncIteration
            await self.has_more.wait()

    async def aclose(self) -> None:
        """They do not listen any more. Safe to call again."""
        self.leave()

    def leave(self) -> None:
        if self._recording.leave(self):
            self._has_left()
