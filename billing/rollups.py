"""Sums of the ledger, added to in the transaction that closes a row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import UsageRollup
from billing.tokens import TokenCounts

Kind = UsageRollup.Kind
_TABLE = UsageRollup._meta.db_table
# In the order of the constraint that makes a row one.
_KEY = (
    "kind",
    "organization_id",
    "starts_at",
    "user_id",
    "api_key_id",
    "model",
    "agent",
    "label",
)
_SUMS = (
    "requests",
    "failed",
    "estimated",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "server_tool_uses",
    "tool_calls",
    "cost_nano",
    "duration_ms",
)

Key = tuple[str, UUID, datetime, int, str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One closed row as the sums see it. A correction is no request of its own."""

    organization_id: UUID
    user_id: int
    api_key_id: str
    model: str
    agent: str
    session_id: str
    tags: Sequence[str]
    admitted_at: datetime
    counts: TokenCounts
    cost_nano: int
    tool_calls: int = 0
    duration_ms: int = 0
    failed: bool = False
    estimated: bool = False
    is_correction: bool = False

    @property
    def sums(self) -> tuple[int, ...]:
        """What it adds, in the order of the columns."""
        counts = self.counts
        return (
            0 if self.is_correction else 1,
            int(self.failed),
            int(self.estimated),
            counts.input_tokens,
            counts.output_tokens,
            counts.cache_read_tokens,
            counts.cache_write_5m_tokens,
            counts.cache_write_1h_tokens,
            counts.server_tool_uses,
            self.tool_calls,
            self.cost_nano,
            self.duration_ms,
        )


def keys_of(use: Use) -> list[Key]:
    """The sums that a row is part of."""
    hour = use.admitted_at.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    month = day.replace(day=1)
    who = (use.user_id, use.api_key_id, use.model, use.agent, "")
    found: list[Key] = [
        (Kind.HOUR.value, use.organization_id, hour, *who),
        (Kind.DAY.value, use.organization_id, day, *who),
        (Kind.MONTH.value, use.organization_id, month, *who),
    ]
    labels = [(Kind.SESSION.value, day, use.session_id)] if use.session_id else []
    for tag in dict.fromkeys(use.tags):
        labels += [(Kind.TAG.value, day, tag), (Kind.TAG_MONTH.value, month, tag)]
    found += [
        (kind, use.organization_id, start, use.user_id, "", "", "", label)
        for kind, start, label in labels
    ]
    return found


def add(cursor: Any, uses: Iterable[Use]) -> None:
    """Add the rows to their sums, one statement for each sum, always in the same order."""
    totals: dict[Key, list[int]] = {}
    for use in uses:
        sums = use.sums
        for key in keys_of(use):
            total = totals.get(key)
            if total is None:
                totals[key] = list(sums)
            else:
                for at, amount in enumerate(sums):
                    total[at] += amount
    if totals:
        uuid_of = _as_it_is if connection.features.has_native_uuid_field else _hex
        time_of = connection.ops.adapt_datetimefield_value
        cursor.executemany(
            _statement(),
            [
                (kind, uuid_of(organization), time_of(start), *who, *totals[key])
                for key in sorted(totals)
                for kind, organization, start, *who in [key]
            ],
        )


def _as_it_is(value: UUID) -> Any:
    return value


def _hex(value: UUID) -> Any:
    return value.hex


@cache
def _statement() -> str:
    columns = ", ".join(_KEY + _SUMS)
    marks = ", ".join(["%s"] * (len(_KEY) + len(_SUMS)))
    added = ", ".join(f"{name} = {_TABLE}.{name} + excluded.{name}" for name in _SUMS)
    return (
        f"INSERT INTO {_TABLE} ({columns}) VALUES ({marks})"  # noqa: S608  (names of ours)
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {added}"
    )
