"""Wrong credentials, counted by the address they come from.

Whether an address has to wait is a look into a dict of this process. Counting comes after the
answer is known: at once in memory, on a thread where it is Redis that counts, for the event loop
must not wait for it. So a flood gets a few more tries than its limit, and good keys pay nothing.
"""

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.conf import settings

from accounts import rates

ADDRESSES = 10_000  # that must wait at once; whoever commands more is not stopped by addresses
COUNTS_WAITING = 1000  # not yet told to Redis; with a slow one the rest go uncounted
REST_S = (
    5.0  # counters that are away are not asked again for so long; each asking takes half a second
)

_until: dict[str, float] = {}  # when the waiting of an address ends
_away_until = 0.0

# One thread: a count takes a fraction of a millisecond, and nobody waits for it.
_counter = ThreadPoolExecutor(1, thread_name_prefix="failures")
_under_way: set[Future[None]] = set()


def wait_s(address: str) -> int:
    """How many seconds `address` has to wait before a credential unknown here is looked at."""
    until = _until.get(address)
    if until is None:
        return 0
    left_s = until - time.monotonic()
    if left_s <= 0:
        _until.pop(address, None)
        return 0
    return math.ceil(left_s)


def note(address: str) -> None:
    """Count a wrong credential from `address`, soon. It never raises and never waits."""
    if not address:  # a Unix socket has none, and everybody behind it would be one
        return
    if not settings.REDIS_URL:
        _count(address)
    elif len(_under_way) < COUNTS_WAITING:
        counting = _counter.submit(_count, address)
        _under_way.add(counting)
        counting.add_done_callback(_under_way.discard)


def _count(address: str) -> None:
    global _away_until
    if time.monotonic() < _away_until:
        return
    found = rates.tried(rates.FAILED_AUTHENTICATION, address)
    if found is None:
        _away_until = time.monotonic() + REST_S
    elif found.remaining == 0:  # the last one that was allowed is already told to wait
        if len(_until) >= ADDRESSES:
            _until.clear()  # costs each of them a few more tries
        _until[address] = time.monotonic() + found.resets_in_s
