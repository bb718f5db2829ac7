"""Rows of the ledger and their sums, as tests make them."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from accounts.tests.people import Person
from billing.models import UsageRecord, UsageRollup, UsageSession

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
State, Kind = UsageRecord.State, UsageRollup.Kind
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


def row(person: Person, at: datetime = NOON, key: str = "laptop000000", **more: Any) -> UsageRecord:
    """A closed row of a person's, not saved."""
    model = more.pop("model", "claude-opus-5-5")
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "state": State.COMPLETED,
        "organization": person.organization,
        "user_id": person.user.pk,
        "api_key_id": key,
        "requested_model": model,
        "target_model": model,
        "served_model": model,
        "upstream": "scripted",
        "streamed": True,
        "admitted_at": at,
        "closed_at": at,
        "duration_ms": 1_000,
    }
    return UsageRecord(**values | more)


def keep(rows: Sequence[UsageRecord]) -> None:
    """Save the rows, and the sums that the writer would have kept of those that are closed."""
    UsageRecord.objects.bulk_create(rows)
    keep_sums([each for each in rows if each.closed_at is not None])


def keep_sums(closed: Sequence[UsageRecord]) -> None:
    """Save only the sums of rows that are closed."""
    UsageRollup.objects.bulk_create(_rollups(closed))
    UsageSession.objects.bulk_create(_sessions(closed))


Sums = dict[tuple[Any, ...], dict[str, int]]


def _summed(rows: Iterable[UsageRecord], places: Callable[[UsageRecord], list[Any]]) -> Sums:
    sums: Sums = defaultdict(lambda: defaultdict(int))
    for each in rows:
        for place in places(each):
            for name, amount in _amounts(each).items():
                sums[place][name] += amount
    return sums


def _sessions(rows: Iterable[UsageRecord]) -> list[UsageSession]:
    names = ("starts_at", "organization_id", "user_id", "session")
    return [
        UsageSession(**dict(zip(names, place, strict=True)), **amounts)
        for place, amounts in _summed(rows, _session_places).items()
    ]


def _session_places(each: UsageRecord) -> list[tuple[Any, ...]]:
    month = each.admitted_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    who = (each.organization_id, each.user_id)
    return [(month, *who, each.session_id)] if each.session_id else []


def _rollups(rows: Iterable[UsageRecord]) -> list[UsageRollup]:
    names = ("kind", "starts_at", "organization_id", "user_id", "api_key_id", "model", "agent")
    return [
        UsageRollup(**dict(zip((*names, "label"), place, strict=True)), **amounts)
        for place, amounts in _summed(rows, _places).items()
    ]


def _places(each: UsageRecord) -> list[tuple[Any, ...]]:
    hour = each.admitted_at.replace(minute=0, second=0, microsecond=0)
    day, who = hour.replace(hour=0), (each.organization_id, each.user_id)
    month = day.replace(day=1)
    whole = (*who, each.api_key_id, each.requested_model, each.agent, "")
    alone = (each.organization_id, 0, "", "", "", "")
    return [
        (Kind.HOUR, hour, *whole),
        (Kind.DAY, day, *whole),
        (Kind.MONTH, month, *whole),
        (Kind.ORGANIZATION_HOUR, hour, *alone),
        (Kind.ORGANIZATION_DAY, day, *alone),
        (Kind.TOTAL, hour, uuid.UUID(int=0), *alone[1:]),
        *((Kind.SESSION, day, *who, "", "", "", name) for name in [each.session_id] if name),
        *((Kind.TAG, day, *who, "", "", "", tag) for tag in each.tags or []),
        *((Kind.TAG_MONTH, month, *who, "", "", "", tag) for tag in each.tags or []),
    ]


def _amounts(each: UsageRecord) -> dict[str, int]:
    counts = each.state != State.CORRECTION  # a correction is no request
    return {
        "requests": int(counts),
        "failed": int(each.state == State.FAILED),
        "estimated": int(each.estimated and counts),
        **{name: getattr(each, name) for name in TOKENS},
        "server_tool_uses": each.server_tool_uses,
        "tool_calls": each.tool_calls,
        "cost_nano": each.cost_nano,
        "duration_ms": each.duration_ms or 0,
    }
