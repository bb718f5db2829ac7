"""Values read from the database at most once per time to live, however many ask at once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A bounded cache in front of `load`; the longest unused entry goes first.

    A stale value is never given out: whoever finds it waits for the fresh one, and all who
    wait share a single call of `load`. An error of `load` reaches them all and is not kept.
    """

    def __init__(self, load: Callable[[K], Awaitable[V]], *, ttl_s: float, most: int) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._most = most
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._under_way: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """The value of `key`, at most `ttl_s` seconds old."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept[0]:
            with suppress(KeyError):  # another thread's `forget` may come first
                self._kept.move_to_end(key)
            return kept[1]
        loop = asyncio.get_running_loop()
        task = self._under_way.get(key)
        # Done: cancelled before its first step, so that it could not take itself out. Another
        # loop's: a sync page brings a loop of its own, which cannot wait for that one's task.
        if task is None or task.done() or task.get_loop() is not loop:
            task = loop.create_task(self._refresh(key))
            self._under_way[key] = task
        # One of the waiting clients may leave; the others still want the value.
        return await asyncio.shield(task)

    def last(self, key: K) -> V | None:
        """The value of `key` as it was read last, maybe stale; None when it is not in memory."""
        kept = self._kept.get(key)
        return kept[1] if kept is not None else None

    def forget(self, key: K) -> None:
        """Read `key` anew the next time, even if a read of it is under way just now."""
        self._under_way.pop(key, None)
        self._kept.pop(key, None)

    async def _refresh(self, key: K) -> V:
        # The age counts from before the read: what changes while we read is not missed for longer.
        until = time.monotonic() + self._ttl_s
        try:
            value = await self._load(key)
        except BaseException:
            self._take_out(key)
            raise
        if self._take_out(key):
            self._keep(key, until, value)
        return value

    def _take_out(self, key: K) -> bool:
        """End the read of this task; False when `forget` came in between, so its value is old."""
        wanted = self._under_way.get(key) is asyncio.current_task()
        if wanted:
            self._under_way.pop(key, None)
        return wanted

    def _keep(self, key: K, until: float, value: V) -> None:
        # Taken out first, so that it joins the end of the line even when it was there before.
        self._kept.pop(key, None)
        self._kept[key] = (until, value)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
