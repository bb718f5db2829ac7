"""Which upstreams are well, as this process has seen them. One that fails is left alone a while."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from proxy.answer import UpstreamError
from proxy.routing import Target, UpstreamConfig

OPENS_AFTER = 5  # failures in a row: one bad request should not take an upstream from everybody
OPEN_S = 5.0  # the first pause; each failed probe doubles it
MOST_OPEN_S = 60.0
MOST_REST_S = 60.0  # Claude Code gives up at once when it is told to wait longer
FULL_S = 1.0  # when to ask again for a place; nobody knows when one is left
MOST_RESTS = 1000  # upstreams times models times credentials; more is somebody playing


class NotAskedError(UpstreamError):
    """The upstream is not asked just now. `retry_in_s` is when it may be."""

    def __init__(self, text: str, retry_in_s: float) -> None:
        super().__init__(text)
        self.retry_in_s = retry_in_s


class UnwellError(NotAskedError):
    """It has failed several times in a row."""


class RestingError(NotAskedError):
    """It has said how long it wants to be left alone (Retry-After)."""


class FullError(NotAskedError):
    """As many requests as it may have are under way."""


@dataclass(slots=True)
class Health:
    """What this process knows of one upstream."""

    failures: int = 0  # in a row
    open_until: float = 0.0
    pause_s: float = OPEN_S
    probing: bool = False
    under_way: int = 0
    rests: dict[tuple[str, str], float] = field(default_factory=dict)  # by model and credential


class Place:
    """One request's place at an upstream: taken before it is asked, left when all is over."""

    __slots__ = ("_health", "_is_probe", "_left")

    def __init__(self, health: Health, is_probe: bool) -> None:
        self._health = health
        self._is_probe = is_probe
        self._left = False
        health.under_way += 1
        health.probing = health.probing or is_probe

    def worked(self) -> None:
        """It has begun to answer."""
        health = self._health
        health.failures, health.open_until, health.pause_s = 0, 0.0, OPEN_S
        self._end_probe()

    def failed(self, now: float) -> None:
        """It has failed in a way that is its own fault."""
        health = self._health
        health.failures += 1
        if self._is_probe:
            health.pause_s = min(health.pause_s * 2, MOST_OPEN_S)
        if self._is_probe or health.failures == OPENS_AFTER:
            health.open_until = now + health.pause_s
        self._end_probe()

    def leave(self) -> None:
        """The request is over, whichever way. Safe to call again."""
        if self._left:
            return
        self._left = True
        self._health.under_way -= 1
        self._end_probe()  # a client that leaves says nothing about the upstream

    def _end_probe(self) -> None:
        if self._is_probe:
            self._is_probe = False
            self._health.probing = False


class Breakers:
    """The health of all upstreams. `now` is seconds of a clock that never goes back.

    At most `connections` requests are under way in all: one that had to wait for a connection would
    look as if its upstream were slow.
    """

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._health: dict[tuple[str, str], Health] = {}

    def of(self, upstream: UpstreamConfig) -> Health:
        """What is known of it; an upstream with a new address starts anew."""
        key = (upstream.name, upstream.base_url)
        health = self._health.get(key)
        if health is None:
            health = self._health[key] = Health()
        return health

    def enter(self, target: Target, now: float, *, alone: bool) -> Place:
        """A place at the target's upstream. Raises NotAskedError.

        With nobody else to ask, `alone`, it may itself say once more that it wants patience: it
        knows better than we which requests it means.
        """
        upstream = target.upstream
        name = upstream.name
        if upstream.kind == "demo":  # it fails when it is asked to, and needs no connection
            return Place(Health(), is_probe=False)
        health = self.of(upstream)
        left_s = health.rests.get(_rest_key(target), 0.0) - now
        if left_s > 0 and not alone:
            raise RestingError(f"The upstream {name} asks for patience: {left_s:.0f} s.", left_s)
        if upstream.concurrency is not None and health.under_way >= upstream.concurrency:
            text = f"The upstream {name} has all {upstream.concurrency} places taken."
            raise FullError(text, FULL_S)
        if sum(each.under_way for each in self._health.values()) >= self._connections:
            raise FullError("This gateway has all its connections to upstreams in use.", FULL_S)
        is_probe = health.failures >= OPENS_AFTER
        left_s = health.open_until - now
        if is_probe and (health.probing or left_s > 0):
            raise UnwellError(unwell_text(name, health.failures), max(left_s, 1.0))
        return Place(health, is_probe)

    def rest(self, target: Target, seconds: float, now: float) -> None:
        """The upstream wants no more of this model and credential for so long."""
        rests = self.of(target.upstream).rests
        if len(rests) >= MOST_RESTS:
            rests.clear()
        rests[_rest_key(target)] = now + min(seconds, MOST_REST_S)

    def unwell(self, upstream: UpstreamConfig, now: float) -> str:
        """Why it is not asked just now, for people; empty while it is."""
        health = self.of(upstream)
        if health.failures >= OPENS_AFTER and (health.probing or health.open_until > now):
            return unwell_text(upstream.name, health.failures)
        return ""


def unwell_text(name: str, failures: int) -> str:
    """The words for an upstream that keeps failing."""
    return f"The upstream {name} has failed {failures} times in a row; it is tried again soon."


def _rest_key(target: Target) -> tuple[str, str]:
    return target.model, target.credential


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After, which may be a date (RFC 9110, 10.2.3); None for none."""
    text = headers.get("retry-after") or headers.get("llm_provider-retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text)
    return seconds if seconds >= 0 else None  # no number, too, is not


def _until(text: str) -> float:
    try:
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):  # TypeError: a date without a zone
        return float("nan")
