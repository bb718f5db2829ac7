"""This app's database work, on a few threads of its own that keep their connections."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import InterfaceError, NotSupportedError, OperationalError, connection

from accounts.reads import DatabaseAwayError
from billing import locking

P = ParamSpec("P")
T = TypeVar("T")

_IS_SQLITE = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
# SQLite has one writer, so more threads would only wait for each other; on PostgreSQL each is a
# connection of the hundred that a server usually allows.
THREADS = 2 if _IS_SQLITE else 8
IDLE_S = 5.0  # a connection unused for longer is looked at before it is used: its server may be new

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tunnel")
_last = threading.local()


def off_loop(work: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """`work` as something to await. Raises DatabaseAwayError besides what it raises itself.

    Not `accounts.reads.off_loop`, which opens a connection each time: a tool call comes here five
    times on its way.
    """

    @wraps(work)
    def in_a_thread(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            _freshen()
            return work(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            connection.close()  # the next may be better
            raise DatabaseAwayError("The gateway's database does not answer.") from error
        except NotSupportedError:
            connection.close()  # a migration has changed what this connection has planned
            raise
        finally:
            _last.used_at = time.monotonic()

    @wraps(work)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, partial(in_a_thread, *args, **kwargs))

    return awaited


def _freshen() -> None:
    idle_s = time.monotonic() - getattr(_last, "used_at", 0.0)
    if connection.connection is not None and idle_s > IDLE_S and not connection.is_usable():
        connection.close()
    locking.bound_waits()


def close() -> None:
    """Close the connections of all threads, as a process does at its end."""
    barrier = threading.Barrier(THREADS)

    def close_own() -> None:
        barrier.wait(IDLE_S)  # so that each thread takes one
        connection.close()

    for closing in [_threads.submit(close_own) for _ in range(THREADS)]:
        closing.result(IDLE_S)
