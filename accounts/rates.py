"""How often somebody may do something, counted by django-ratelimit on Django's cache.

Its core and not its decorator: the answer to whoever is too fast is ours.
"""

import logging
from dataclasses import dataclass

from django.core.cache import caches
from django.http import HttpRequest
from django_ratelimit import core

log = logging.getLogger(__name__)

# The library takes what it counts by from a request; ours are no requests, and it asks for nothing.
_NOBODY = HttpRequest()
_CACHE = "default"


class CountersAwayError(Exception):
    """The cache that counts does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in so many seconds."""

    limit: int
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often it was done in the present window, this time included."""

    count: int
    limit: int
    resets_in_s: int

    @property
    def is_over(self) -> bool:
        """Whether this time is one too many."""
        return self.count > self.limit

    @property
    def remaining(self) -> int:
        """How often it may still be done before the window ends."""
        return max(self.limit - self.count, 0)


def count(group: str, who: str, rate: Rate, *, look: bool = False) -> Count:
    """Count one more for `who` in `group`; `look` only looks. Raises CountersAwayError."""
    try:
        usage = core.get_usage(
            _NOBODY,
            group=group,
            key=lambda group, request: who,
            rate=(rate.limit, rate.period_s),
            increment=not look,
        )
    except Exception as error:  # each cache has errors of its own
        raise CountersAwayError("The counters do not answer.") from error
    if usage["time_left"] < 0:  # what it says when the cache gave nothing
        raise CountersAwayError("The counters do not answer.")
    # Never 0: whoever waits that long must not come a moment too early.
    return Count(count=usage["count"], limit=rate.limit, resets_in_s=usage["time_left"] + 1)


def forgive(group: str, who: str, rate: Rate) -> None:
    """Take one back that was counted and then refused for another reason."""
    window = core._get_window(who, rate.period_s)
    key = core._make_cache_key(group, window, (rate.limit, rate.period_s), who, core.ALL)
    try:
        caches[_CACHE].decr(key)
    except Exception as error:  # the window is over, or the cache is away: nothing to take back
        log.debug("nothing to forgive for %s: %r", group, error)
