"""How often somebody may do something, counted by django-ratelimit on Django's cache.

Its core and not its decorator: the answer to whoever is too fast is ours.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from django_ratelimit import core

log = logging.getLogger(__name__)

# The library takes what it counts by from a request; ours are no requests, and it asks for nothing.
_NOBODY = HttpRequest()
_CACHE = "default"
AWAY_SAID_EVERY_S = 60  # counters that are away are one fact, however many requests meet it


class CountersAwayError(Exception):
    """The cache that counts does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in so many seconds."""

    limit: int
    period_s: int


MINUTE_S = 60
HOUR_S = 60 * MINUTE_S

# What is counted, and by what; how often each may be done stands in RATES.
FAILED_AUTHENTICATION = "failed-authentication"  # wrong credentials, by address
CONNECTOR_REGISTRATIONS = "connector-registrations"  # servers registered over REST, by user
CONNECTOR_SESSIONS = "connector-sessions"  # sessions that machines open, by user
LOGIN_ADDRESS = "login-address"  # passwords tried, by address
LOGIN_NAME = "login-name"  # passwords tried, by user name
LOGIN_NAME_ADDRESS = "login-name-address"  # the same, by both
KEY_SECRETS = "key-secrets"  # keys made and rotated by their keepers, by user
OWN_CREDENTIAL_TESTS = "own-credential-tests"  # calls of an upstream, by organization

RATES: dict[str, Rate] = {
    FAILED_AUTHENTICATION: Rate(limit=settings.FAILED_AUTH_PER_MINUTE, period_s=MINUTE_S),
    LOGIN_ADDRESS: Rate(limit=settings.LOGIN_PER_ADDRESS_PER_5_MINUTES, period_s=5 * MINUTE_S),
    LOGIN_NAME: Rate(limit=settings.LOGIN_PER_NAME_PER_HOUR, period_s=HOUR_S),
    # Only whether there was one before is asked of it.
    LOGIN_NAME_ADDRESS: Rate(limit=1, period_s=HOUR_S),
    # A connector that flaps is told to wait.
    CONNECTOR_REGISTRATIONS: Rate(limit=60, period_s=MINUTE_S),
    CONNECTOR_SESSIONS: Rate(limit=60, period_s=MINUTE_S),
    KEY_SECRETS: Rate(limit=30, period_s=HOUR_S),
    OWN_CREDENTIAL_TESTS: Rate(limit=10, period_s=MINUTE_S),
}


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


def count_all(group: str, asked: Sequence[tuple[str, Rate]]) -> list[Count]:
    """Count one more for each, as `count` would, where the cache is a Redis: in one round trip.

    The library asks three times for each. Raises CountersAwayError.
    """
    places = [_place(group, who, rate) for who, rate in asked]
    cache: Any = caches[_CACHE]  # Django has no word for several in one go
    try:
        pipeline = cache._cache.get_client(write=True).pipeline(transaction=False)
        for (_, key), (_, rate) in zip(places, asked, strict=True):
            name = cache.make_and_validate_key(key)
            pipeline.set(name, 0, nx=True, ex=rate.period_s + core.EXPIRATION_FUDGE)
            pipeline.incr(name)
        found = pipeline.execute()[1::2]
    except Exception as error:  # each cache has errors of its own, here too
        raise CountersAwayError("The counters do not answer.") from error
    now = int(core.time.time())
    return [
        Count(count=count, limit=rate.limit, resets_in_s=window - now + 1)
        for count, (window, _), (_, rate) in zip(found, places, asked, strict=True)
    ]


def _place(group: str, who: str, rate: Rate) -> tuple[int, str]:
    """When the present window ends, and where the library counts in it."""
    window = core._get_window(who, rate.period_s)
    return window, core._make_cache_key(group, window, (rate.limit, rate.period_s), who, core.ALL)


def forgive(group: str, who: str, rate: Rate) -> None:
    """Take one back that was counted and then refused for another reason."""
    _, key = _place(group, who, rate)
    try:
        caches[_CACHE].decr(key)
    except Exception as error:  # the window is over, or the cache is away: nothing to take back
        log.debug("nothing to forgive for %s: %r", group, error)


def tried(group: str, who: str, *, look: bool = False) -> Count | None:
    """Count one more by the table. None while the counters are away: that refuses nobody."""
    try:
        return count(group, who, RATES[group], look=look)
    except CountersAwayError as error:
        say_away(error)
        return None


def allowed_after_all(group: str, who: str) -> None:
    """Take back what `tried` counted."""
    forgive(group, who, RATES[group])


_away_said_at: float | None = None


def say_away(error: CountersAwayError) -> None:
    """Log it, at most once in AWAY_SAID_EVERY_S: every request of an outage meets it."""
    global _away_said_at
    now = time.monotonic()
    if _away_said_at is None or now - _away_said_at >= AWAY_SAID_EVERY_S:
        _away_said_at = now
        log.warning("the counters of rates do not answer, nobody is refused: %r", error.__cause__)
