"""How fast and how well the newest requests of a range were answered, by upstream."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from billing.models import UsageRecord
from opscenter.request_tree import STALL_MS

NEWEST = 2_000  # requests: the index by time gives them in a few milliseconds


class Row(NamedTuple):
    """What is read of each request."""

    state: str
    first_byte_ms: int | None
    longest_silence_ms: int | None
    error_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One upstream, of the newest requests."""

    upstream: str
    requests: int
    failed: int
    first_byte_ms: int | None  # half of the answers had begun by then
    first_byte_slow_ms: int | None  # and 95 of 100
    stalls: int  # answers in which it fell silent for STALL_MS or longer
    silence_ms: int  # the longest of all
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
        .values_list("upstream", "state", "first_byte_ms", "longest_silence_ms", "error_type")[
            :NEWEST
        ]
    )
    by_upstream: dict[str, list[Row]] = {}
    for upstream, state, first_byte_ms, silence_ms, error in rows:
        row = Row(state, first_byte_ms, silence_ms, error)
        by_upstream.setdefault(upstream, []).append(row)
    found = [_of(upstream, each) for upstream, each in by_upstream.items()]
    return sorted(found, key=lambda one: (-one.requests, one.upstream))


def _of(upstream: str, rows: Sequence[Row]) -> Answered:
    times = sorted(row.first_byte_ms for row in rows if row.first_byte_ms is not None)
    silences = [row.longest_silence_ms or 0 for row in rows]
    errors: dict[str, int] = {}
    failed = 0
    for row in rows:
        if row.state == UsageRecord.State.FAILED:
            failed += 1
            kind = row.error_type or "unknown"
            errors[kind] = errors.get(kind, 0) + 1
    kinds = sorted(errors, key=lambda kind: (-errors[kind], kind))
    return Answered(
        upstream=upstream,
        requests=len(rows),
        failed=failed,
        first_byte_ms=_percentile(times, 50),
        first_byte_slow_ms=_percentile(times, 95),
        stalls=sum(silence >= STALL_MS for silence in silences),
        silence_ms=max(silences, default=0),
        errors=", ".join(f"{errors[kind]} {kind}" for kind in kinds[:3]),
    )


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """By the nearest rank."""
    if not ordered:
        return None
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
