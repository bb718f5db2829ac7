"""Database reads for code on the event loop, on a few threads of their own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2  # made-up key ids can keep this many threads and connections busy, and no more
WAIT_S = 10.0  # who waits is told by then, though the database says nothing at all
HUNG_S = 1.0  # the same once it was silent to somebody: who comes later need not wait as long
SILENT_S = 5.0  # it counts as silent for so long after, unless somebody is answered

# Not Django's one thread for sync code: several requests may wait for one read, and a sync page
# that waits holds the very thread that the read would need.
_readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

AWAY = "The gateway's database does not answer."

_silent_at = float("-inf")  # when somebody was last not answered, unless somebody was since


class DatabaseAwayError(Exception):
    """The database does not answer. It may be back in a moment."""


def off_loop(
    read: Callable[P, T], on: ThreadPoolExecutor = _readers, *, wait_s: float | None = WAIT_S
) -> Callable[P, Awaitable[T]]:
    """`read` as something to await. Its connection is looked after here: no request does.

    `on` other threads, where it is long and nothing that is in a hurry may wait for it. Who bounds
    the wait elsewhere, or has none, says None for `wait_s`.
    Raises DatabaseAwayError besides what `read` raises itself. A read that nobody waits for any
    more goes on until the database answers it, or the connection ends.
    """

    @wraps(read)
    def on_a_reader(*args: P.args, **kwargs: P.kwargs) -> T:
        close_old_connections()  # one that broke meanwhile would fail every read from now on
        try:
            return read(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise DatabaseAwayError(AWAY) from error
        finally:
            close_old_connections()

    awaited = sync_to_async(on_a_reader, thread_sensitive=False, executor=on)
    return awaited if wait_s is None else _bounded(awaited, wait_s)


def _bounded(read: Callable[P, Awaitable[T]], wait_s: float) -> Callable[P, Awaitable[T]]:
    @wraps(read)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        global _silent_at
        began = time.monotonic()
        is_silent = began - _silent_at < SILENT_S
        try:
            async with asyncio.timeout(HUNG_S if is_silent else wait_s) as bound:
                found = await read(*args, **kwargs)
        except (TimeoutError, DatabaseAwayError) as error:
            now = time.monotonic()
            if now - began >= HUNG_S:  # no refusal takes as long, so nobody said a word
                _silent_at = now
            if bound.expired():
                raise DatabaseAwayError(AWAY) from error
            raise
        _silent_at = float("-inf")
        return found

    return awaited
