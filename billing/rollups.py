"""Sums of the ledger, added to in the transaction that closes a row."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import UsageRollup, UsageSession
from billing.tokens import TokenCounts

Kind = UsageRollup.Kind
_ROLLUPS, _SESSIONS = UsageRollup._meta.db_table, UsageSession._meta.db_table
# What makes a row one, in the order of the constraint that says so.
_KEYS = {
    _ROLLUPS: (
        "kind",
        "organization_id",
        "starts_at",
        "user_id",
        "api_key_id",
        "model",
        "agent",
        "label",
    ),
    _SESSIONS: ("organization_id", "starts_at", "user_id", "session"),
}
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
NO_ORGANIZATION = UUID(int=0)  # whose the rows of all together are
_STARTS_KEPT = 64  # those of the hours, days and months that are being written

Key = tuple[Any, ...]  # as the database keeps its columns
Amounts = tuple[int, ...]  # in the order of _SUMS


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
    def sums(self) -> Amounts:
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


def add(cursor: Any, uses: Iterable[Use]) -> None:
    """Add the rows to their sums, one statement for each sum, always in the same order."""
    totals: dict[str, dict[Key, Amounts]] = {_ROLLUPS: {}, _SESSIONS: {}}
    for use in uses:
        sums = use.sums
        for table, keys in _keys_of(use).items():
            of_table = totals[table]
            for key in keys:
                total = of_table.get(key)
                of_table[key] = sums if total is None else tuple(map(operator.add, total, sums))
    for table, found in totals.items():
        if found:
            rows = [(*key, *found[key]) for key in sorted(found)]
            cursor.executemany(_statement(table), rows)


def _keys_of(use: Use) -> Mapping[str, Sequence[Key]]:
    """The sums that a row is part of, by their table."""
    hour = use.admitted_at.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    month = day.replace(day=1)
    in_hour, in_day, in_month = (_time(connection.vendor, start) for start in (hour, day, month))
    whose = _uuid(use.organization_id)
    who = (use.user_id, use.api_key_id, use.model, use.agent, "")
    nobody = (0, "", "", "", "")
    rollups: list[Key] = [
        (Kind.HOUR.value, whose, in_hour, *who),
        (Kind.DAY.value, whose, in_day, *who),
        (Kind.MONTH.value, whose, in_month, *who),
        (Kind.ORGANIZATION_HOUR.value, whose, in_hour, *nobody),
        (Kind.ORGANIZATION_DAY.value, whose, in_day, *nobody),
        (Kind.TOTAL.value, _uuid(NO_ORGANIZATION), in_hour, *nobody),
    ]
    for tag in dict.fromkeys(use.tags):
        rollups += [
            (Kind.TAG.value, whose, in_day, use.user_id, "", "", "", tag),
            (Kind.TAG_MONTH.value, whose, in_month, use.user_id, "", "", "", tag),
        ]
    if not use.session_id:
        return {_ROLLUPS: rollups}
    rollups.append((Kind.SESSION.value, whose, in_day, use.user_id, "", "", "", use.session_id))
    return {
        _ROLLUPS: rollups,
        _SESSIONS: [(whose, in_month, use.user_id, use.session_id)],
    }


@lru_cache(maxsize=_STARTS_KEPT)
def _time(vendor: str, start: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(start)


def _uuid(value: UUID) -> Any:
    return value if connection.features.has_native_uuid_field else value.hex


@cache
def _statement(table: str) -> str:
    key = _KEYS[table]
    columns = ", ".join(key + _SUMS)
    marks = ", ".join(["%s"] * (len(key) + len(_SUMS)))
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _SUMS)
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608  (names of ours)
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}"
    )
