"""Requests in a minute: memory answers at once, Redis is asked by one thread for all who wait."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from django.conf import settings

from accounts import rates
from accounts.rates import Count, CountersAwayError, Rate

GROUP = "requests"
MOST_AT_ONCE = 500  # requests in one round trip: some milliseconds of this process

Asked = Sequence[tuple[str, Rate]]  # for one request: who is counted, and how often they may come

# One that asks, and one for what is taken back, which must not hold up the others.
_thread = ThreadPoolExecutor(1, thread_name_prefix="minutes")
_back = ThreadPoolExecutor(1, thread_name_prefix="forgiven")


class _Round:
    """Those who ask while a round trip is under way share the next one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Asked, asyncio.Future[list[Count]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def count(self, asked: Asked) -> list[Count]:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Count]] = loop.create_future()
        self._waiting.append((asked, waiter))
        if self._task is None:
            self._task = loop.create_task(self._work(loop))
        return await waiter

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                due, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                all_asked = [one for asked, _ in due for one in asked]
                try:
                    found = await loop.run_in_executor(_thread, rates.count_all, GROUP, all_asked)
                except CountersAwayError as error:
                    # Who came meanwhile has waited too, and would find the same.
                    due, self._waiting = due + self._waiting, []
                    _refuse([waiter for _, waiter in due], error)
                    continue
                counts = iter(found)
                for asked, waiter in due:
                    its = [next(counts) for _ in asked]
                    if not waiter.done():  # else its client has left
                        waiter.set_result(its)
        finally:
            self._task = None


def _refuse(waiters: Sequence[asyncio.Future[list[Count]]], error: CountersAwayError) -> None:
    for waiter in waiters:
        if not waiter.done():
            refusal = CountersAwayError(str(error))
            refusal.__cause__ = error.__cause__
            waiter.set_exception(refusal)


_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Round] = WeakKeyDictionary()


async def count(asked: Asked) -> list[Count]:
    """Count a request once more for each. Raises CountersAwayError."""
    if not settings.REDIS_URL:
        return [rates.count(GROUP, who, rate) for who, rate in asked]
    loop = asyncio.get_running_loop()
    found = _rounds.get(loop)
    if found is None:
        found = _rounds[loop] = _Round()
    return await found.count(asked)


async def forgive(asked: Asked) -> None:
    """Take back what was counted for a request that was refused."""
    for who, rate in asked:
        if settings.REDIS_URL:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(_back, rates.forgive, GROUP, who, rate)
        else:
            rates.forgive(GROUP, who, rate)
