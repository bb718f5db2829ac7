"""What is counted of what clients ask on the lean paths: by path and status, with the time."""

import re

from prometheus_client import Counter, Histogram

UNREAD = "unread"  # refused before its path was looked at: no credential, or a body out of bounds
_requests = Counter(
    "opscenter_http_requests", "Answers under /v1 and to tool calls", ["path", "status"]
)
_seconds = Histogram(
    "opscenter_http_request_seconds",
    "Seconds from a request's first byte to its answer's last",
    ["path"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
_counters: dict[tuple[str, int], Counter] = {}  # paths are patterns of ours, statuses few
_times: dict[str, Histogram] = {}
_paths: dict[str, str] = {}


def answered(route: str, status: int, seconds: float) -> None:
    """Count an answer: `route` is the pattern of the URL configuration, or UNREAD."""
    counter = _counters.get((route, status))
    if counter is None:
        counter = _counters[route, status] = _requests.labels(path_of(route), str(status))
    counter.inc()
    time = _times.get(route)
    if time is None:
        time = _times[route] = _seconds.labels(path_of(route))
    time.observe(seconds)


def path_of(pattern: str) -> str:
    r"""A pattern as people write a path: `^v1/(?:v1/)?models/?$` is `/v1/models`."""
    if pattern == UNREAD:
        return pattern
    path = pattern.removeprefix("^").replace("(?:v1/)?", "").replace("/?$", "")
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", path)
    return "/v1/..." if "(" in path else f"/{path}"
