"""What the sums of the ledger say about a range of days: for the page of usage."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Sum

from billing.models import UsageRollup

SUMMED = (
    "requests",
    "failed",
    "estimated",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "server_tool_uses",
    "cost_nano",
)
# What each way of grouping is called in the table.
GROUPS = {
    "day": "starts_at",
    "model": "model",
    "user": "user_id",
    "organization": "organization_id",
    "key": "api_key_id",
    "tag": "label",
}
Kind = UsageRollup.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The sums of one group, or of all."""

    group: Any = None
    requests: int = 0
    failed: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    server_tool_uses: int = 0
    cost_nano: int = 0

    @property
    def cache_write_tokens(self) -> int:
        """Both kinds of writes."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def limited_tokens(self) -> int:
        """What counts towards a limit of tokens."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens


def lines(
    group: str, first: date, last: date, organization_id: UUID | None, most: int
) -> list[Line]:
    """The `most` groups that cost most; days in their order."""
    column = GROUPS[group]
    kind = Kind.TAG if group == "tag" else Kind.DAY
    rows = _rows(kind, first, last, organization_id).values(column)
    order = ["-starts_at"] if group == "day" else ["-cost_nano_sum", "-requests_sum", column]
    found = rows.annotate(**_sums()).order_by(*order)[:most]
    return [_line(row, row[column]) for row in found]


def total(first: date, last: date, organization_id: UUID | None) -> Line:
    """Everything in the range. Not the sum over tags: a request may have two or none."""
    return _line(_rows(Kind.DAY, first, last, organization_id).aggregate(**_sums()))


def _rows(
    kind: str, first: date, last: date, organization_id: UUID | None
) -> QuerySet[UsageRollup]:
    since = datetime.combine(first, time(), UTC)
    until = datetime.combine(last, time(), UTC) + timedelta(days=1)
    rows = UsageRollup.objects.filter(kind=kind, starts_at__gte=since, starts_at__lt=until)
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def _sums() -> dict[str, Sum]:
    return {f"{name}_sum": Sum(name) for name in SUMMED}


def _line(row: dict[str, Any], group: Any = None) -> Line:
    return Line(group=group, **{name: int(row[f"{name}_sum"] or 0) for name in SUMMED})
