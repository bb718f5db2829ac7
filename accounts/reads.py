"""Database reads for code on the event loop, on a few threads of their own."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2  # made-up key ids can keep this many threads and connections busy, and no more

# Not Django's one thread for sync code: several requests may wait for one read, and a sync page
# that waits holds the very thread that the read would need.
_readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")


class DatabaseAwayError(Exception):
    """The database does not answer. It may be back in a moment."""


def off_loop(read: Callable[P, T], on: ThreadPoolExecutor = _readers) -> Callable[P, Awaitable[T]]:
    """`read` as something to await. Its connection is looked after here: no request does.

    `on` other threads, where it is long and nothing that is in a hurry may wait for it.
    Raises DatabaseAwayError besides what `read` raises itself.
    """

    @wraps(read)
    def on_a_reader(*args: P.args, **kwargs: P.kwargs) -> T:
        close_old_connections()  # one that broke meanwhile would fail every read from now on
        try:
            return read(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise DatabaseAwayError("The gateway's database does not answer.") from error
        finally:
            close_old_connections()

    return sync_to_async(on_a_reader, thread_sensitive=False, executor=on)
