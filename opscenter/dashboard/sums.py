"""What the sums of the ledger say of a range of time. No row of a request is read for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from billing.models import UsageRollup

Kind = UsageRollup.Kind
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TOP = 8  # of a list that somebody reads at a glance
SUMMED = (
    "requests",
    "failed",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "tool_calls",
    "cost_nano",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range that can be picked, up to now."""

    name: str
    title: str
    step: timedelta
    steps: int


RANGES = {
    found.name: found
    for found in (
        Range(name="24h", title="24 hours", step=HOUR, steps=24),
        Range(name="7d", title="7 days", step=DAY, steps=7),
        Range(name="30d", title="30 days", step=DAY, steps=30),
        Range(name="90d", title="90 days", step=DAY, steps=90),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """The sums of one step, of one group, or of all."""

    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    tool_calls: int = 0
    cost_nano: int = 0

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def tokens(self) -> int:
        """All of them, read from a cache or not."""
        prompt = self.input_tokens + self.cache_read_tokens + self.cache_write_tokens
        return prompt + self.output_tokens

    @property
    def cache_hit_percent(self) -> float | None:
        """How much of what was sent came from a cache; None where nothing was sent."""
        prompt = self.input_tokens + self.cache_read_tokens + self.cache_write_tokens
        return 100 * self.cache_read_tokens / prompt if prompt else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    starts_at: datetime
    amounts: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One of a list: a model, a user's id, an agent."""

    name: Any
    amounts: Amounts


def begins(wanted: Range, now: datetime) -> datetime:
    """The first moment of the range: whole hours or days in UTC, the present one is the last."""
    present = now.replace(minute=0, second=0, microsecond=0)
    if wanted.step == DAY:
        present = present.replace(hour=0)
    return present - (wanted.steps - 1) * wanted.step


def steps(wanted: Range, now: datetime) -> list[Step]:
    """Every step of the range, also where nothing happened."""
    since = begins(wanted, now)
    # A row for each hour: of ninety days two thousand. They are added up here, for databases cut
    # days in ways of their own.
    rows = UsageRollup.objects.filter(kind=Kind.TOTAL, starts_at__gte=since, starts_at__lte=now)
    found: dict[datetime, list[int]] = {
        since + number * wanted.step: [0] * len(SUMMED) for number in range(wanted.steps)
    }
    for starts_at, *amounts in rows.values_list("starts_at", *SUMMED).iterator():
        at = starts_at.replace(hour=0) if wanted.step == DAY else starts_at
        if at in found:
            found[at] = [a + b for a, b in zip(found[at], amounts, strict=True)]
    return [Step(starts_at=at, amounts=_amounts(sums)) for at, sums in found.items()]


def total(of: Sequence[Step]) -> Amounts:
    """All steps together."""
    columns = [[getattr(step.amounts, name) for name in SUMMED] for step in of]
    return _amounts([sum(column) for column in zip(*columns, strict=True)])


def top(by: str, wanted: Range, now: datetime) -> list[Share]:
    """Those of `model`, `user_id` or `agent` that cost most, without what has none."""
    kind = Kind.HOUR if wanted.step == HOUR else Kind.DAY
    rows = UsageRollup.objects.filter(kind=kind, starts_at__gte=begins(wanted, now))
    if by == "agent":
        rows = rows.exclude(agent="")
    sums = {f"{name}_sum": Sum(name) for name in SUMMED}
    order = ["-cost_nano_sum", "-requests_sum", by]
    found = rows.values(by).annotate(**sums).order_by(*order)[:TOP]
    return [Share(name=row[by], amounts=_amounts(list(_sums(row)))) for row in found]


def _sums(row: dict[str, Any]) -> Iterator[int]:
    for name in SUMMED:
        yield int(row[f"{name}_sum"] or 0)


def _amounts(sums: Sequence[int]) -> Amounts:
    return Amounts(**dict(zip(SUMMED, sums, strict=True)))
