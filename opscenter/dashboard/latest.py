"""How fast and how well the newest requests of a range were answered, by upstream."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.models import UsageRecord

NEWEST = 2_000  # requests: the index by time gives them in a few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One upstream, of the newest requests."""

    upstream: str
    requests: int
    failed: int
    first_byte_ms: int | None  # half of the answers had begun by then
    first_byte_slow_ms: int | None  # and 95 of 100
    errors: str  # the kinds, the most frequent first

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.requests


def answered(since: datetime, until: datetime) -> list[Answered]:
    """Of each upstream that had any, the busiest first."""
    rows = (
        UsageRecord.objects.filter(admitted_at__gte=since, admitted_at__lte=until)
        .exclude(state=UsageRecord.State.ADMITTED)
        .order_by("-admitted_at")
        .values_list("upstream", "state", "first_byte_ms", "error_type")[:NEWEST]
    )
    by_upstream: dict[str, list[tuple[str, int | None, str]]] = {}
    for upstream, state, first_byte_ms, error in rows:
        by_upstream.setdefault(upstream, []).append((state, first_byte_ms, error))
    found = [_of(upstream, each) for upstream, each in by_upstream.items()]
    return sorted(found, key=lambda one: (-one.requests, one.upstream))


def _of(upstream: str, rows: Sequence[tuple[str, int | None, str]]) -> Answered:
    times = sorted(ms for _, ms, _ in rows if ms is not None)
    errors: dict[str, int] = {}
    failed = 0
    for state, _, error in rows:
        if state == UsageRecord.State.FAILED:
            failed += 1
            errors[error or "unknown"] = errors.get(error or "unknown", 0) + 1
    kinds = sorted(errors, key=lambda kind: (-errors[kind], kind))
    return Answered(
        upstream=upstream,
        requests=len(rows),
        failed=failed,
        first_byte_ms=_percentile(times, 50),
        first_byte_slow_ms=_percentile(times, 95),
        errors=", ".join(f"{errors[kind]} {kind}" for kind in kinds[:3]),
    )


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """By the nearest rank."""
    if not ordered:
        return None
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
