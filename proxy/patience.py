"""Wait for one thing after another, each for so long, on a single timer."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from proxy.wire.sse import STALL_S

T = TypeVar("T")


class Patience:
    """A timeout for many waits in a row.

    `asyncio.timeout` sets and clears a timer for each of them, which for the chunks of a stream
    costs as much as reading them. Here one timer looks now and then how long the wait has lasted.
    """

    __slots__ = (
        "_last",
        "_loop",
        "_patience_s",
        "_silence_s",
        "_task",
        "_timer",
        "_until",
        "_waits_since",
        "_woken",
        "longest_s",
        "stalled_s",
        "stalls",
    )

    def __init__(self, patience_s: float, *, in_all_s: float = float("inf")) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self._last = self._loop.time()
        self._until = self._last + in_all_s
        self._waits_since: float | None = None
        self._silence_s = 0.0
        self.forget()
        self._task: asyncio.Task[object] | None = None
        self._woken = False
        self._timer = self._loop.call_later(patience_s, self._look)

    async def wait(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises TimeoutError once it, or all of them, lasted long enough;
        `work` is then cancelled, so it must be one that loses nothing by that."""
        self._task = asyncio.current_task(self._loop)
        self._waits_since = self._loop.time()
        try:
            result = await work
        except asyncio.CancelledError:
            # As asyncio.timeout does: ours is one cancellation, whoever asked for another gets it.
            if self._woken and self._task is not None and self._task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._count_silence()
            self._waits_since = None
            self._woken = False
        self._last = self._loop.time()
        if self._silence_s >= STALL_S:
            self._stall()
        self._silence_s = 0.0
        return result

    def forget(self) -> None:
        """Begin anew with what the silences have been so far."""
        self.longest_s = 0.0  # that anything was waited for, in one wait or several
        self.stalls = 0  # silences of STALL_S and longer
        self.stalled_s = 0.0  # all of them together

    def _stall(self) -> None:
        self.stalls += 1
        self.stalled_s += self._silence_s

    def _count_silence(self) -> None:
        """Only what was waited: between two waits somebody else may be slow."""
        if self._waits_since is not None:
            self._silence_s += self._loop.time() - self._waits_since
            self.longest_s = max(self.longest_s, self._silence_s)

    def silent_s(self) -> float:
        """Seconds since something last came."""
        return self._loop.time() - self._last

    def end(self) -> None:
        """No more waits will follow."""
        self._timer.cancel()

    def give_up(self) -> None:
        """What was waited for at last has not come: it was a stall, if it lasted."""
        if self._silence_s >= STALL_S:
            self._stall()
        self._silence_s = 0.0

    def _look(self) -> None:
        now = self._loop.time()
        since = self._waits_since
        left_s = min((now if since is None else since) + self._patience_s, self._until) - now
        if left_s <= 0:
            left_s = self._patience_s
            if since is not None and self._task is not None:
                self._woken = True
                self._task.cancel()
        self._timer = self._loop.call_later(left_s, self._look)
