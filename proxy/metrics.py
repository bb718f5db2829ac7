"""What is counted of each request: by the upstream that answered and the route that led there.

Both are names that operators gave. Models, users and sessions are no labels: there is no end of
them, and the ledger knows each.
"""

from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from billing.tokens import TokenCounts
from proxy.wire.sse import STALL_S

MOST_SERIES = 200  # pairs of upstream and route with counters of their own, about 60 KB each
OTHERS = "others"  # all beyond it
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
FIRST_BYTE_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)

_BY = ["upstream", "route"]
_requests = Counter(
    "opscenter_requests", "Requests sent on to an upstream that have ended", [*_BY, "state"]
)
_seconds = Histogram(
    "opscenter_request_seconds",
    "Seconds from the admission of a request to its end",
    _BY,
    buckets=SECONDS,
)
_first_byte = Histogram(
    "opscenter_first_byte_seconds",
    "Seconds from the admission of a request to the first byte of its answer",
    _BY,
    buckets=FIRST_BYTE_S,
)
_tokens = Counter("opscenter_tokens", "Tokens, each in one class", [*_BY, "class"])
_cost = Counter("opscenter_cost_usd", "What the requests have cost, in dollars", _BY)
_hits = Counter(
    "opscenter_cache_hits", "Requests of which the upstream read a part from its cache", _BY
)
_moved = Counter(
    "opscenter_requests_moved", "Requests that another upstream than the first one answered", _BY
)
_stalls = Counter(
    "opscenter_stalls", f"Silences of {STALL_S:.0f} s and longer of an upstream in its stream", _BY
)
_stalled = Counter("opscenter_stall_seconds", "Seconds of all those silences together", _BY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request that has ended, as far as it is counted here."""

    upstream: str
    route: str
    state: str
    duration_ms: int
    first_byte_ms: int | None
    counts: TokenCounts
    cost_nano: int
    was_moved: bool
    stalls: int
    stalled_s: float


class _Series:
    """The counters of one upstream and route, found once."""

    __slots__ = (
        "_by",
        "cost",
        "first_byte",
        "hits",
        "moved",
        "requests",
        "seconds",
        "stalled",
        "stalls",
        "tokens",
    )

    def __init__(self, upstream: str, route: str) -> None:
        by = (upstream, route)
        self._by = by
        self.requests: dict[str, Counter] = {}
        self.seconds = _seconds.labels(*by)
        self.first_byte = _first_byte.labels(*by)
        self.cost = _cost.labels(*by)
        self.hits = _hits.labels(*by)
        self.moved = _moved.labels(*by)
        self.stalls = _stalls.labels(*by)
        self.stalled = _stalled.labels(*by)
        self.tokens = [
            (name, _tokens.labels(*by, name.removesuffix("_tokens")))
            for name in (
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_5m_tokens",
                "cache_write_1h_tokens",
            )
        ]

    def of_state(self, state: str) -> Counter:
        found = self.requests.get(state)
        if found is None:
            found = self.requests[state] = _requests.labels(*self._by, state)
        return found


_series: dict[tuple[str, str], _Series] = {}


def ended(one: Ended) -> None:
    """Count a request. No thread, no query, no search for a label: some microseconds."""
    series = _series.get((one.upstream, one.route)) or _new(one.upstream, one.route)
    series.of_state(one.state).inc()
    series.seconds.observe(one.duration_ms / 1000)
    if one.first_byte_ms is not None:
        series.first_byte.observe(one.first_byte_ms / 1000)
    for name, counter in series.tokens:
        if count := getattr(one.counts, name):
            counter.inc(count)
    if one.counts.cache_read_tokens:
        series.hits.inc()
    if one.cost_nano > 0:
        series.cost.inc(one.cost_nano / 1e9)
    if one.was_moved:
        series.moved.inc()
    if one.stalls:
        series.stalls.inc(one.stalls)
        series.stalled.inc(one.stalled_s)


def _new(upstream: str, route: str) -> _Series:
    key = (upstream, route) if len(_series) < MOST_SERIES else (OTHERS, OTHERS)
    found = _series.get(key)
    if found is None:
        found = _series[key] = _Series(*key)
    return found
