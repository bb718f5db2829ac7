"""A row opened before the upstream is asked, closed once, never edited again."""

import random
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
from django.db import connection, models
from django.db.models import Q

from billing import writer
from billing.models import UsageRecord
from billing.tokens import TokenCounts

State = UsageRecord.State
RecordId = uuid.UUID
_TABLE = UsageRecord._meta.db_table
_USAGE_BYTES = 16 * 1024  # a hundred times what the API reports; more is not usage
# An escaped NUL. With one more backslash before it, it is the plain text of one, which may stay.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_TEXT_CHARS = 100  # of what a client or an upstream calls its session, agent, message or error


class LedgerUnavailableError(Exception):
    """The ledger cannot take the row, so the request must not be sent on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What is known of a request before the upstream is asked."""

    id: uuid.UUID
    organization_id: uuid.UUID
    user_id: int
    api_key_id: str
    requested_model: str
    target_model: str
    upstream: str
    streamed: bool
    own_credential: bool = False
    session_id: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How a request ended. Times are milliseconds since it was admitted."""

    state: State
    duration_ms: int
    upstream: str  # which one answered in the end, and
    target_model: str  # under which name it was asked
    own_credential: bool = False
    moved_from: str = ""
    attempts: int = 1
    first_byte_ms: int | None = None
    status: int | None = None
    stop_reason: str = ""
    error_type: str = ""
    message_id: str = ""
    served_model: str = ""
    upstream_request_id: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562, 5.7): ordered by time, so that new rows lie together."""
    # Unique is enough: a guessed id opens nothing, and the system's randomness costs a call.
    value = (time.time_ns() // 1_000_000) << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


async def admit(admission: Admission) -> None:
    """Return when the row is committed. Raises LedgerUnavailableError when it cannot be."""
    row = {
        "id": admission.id,
        "organization_id": admission.organization_id,
        "user_id": admission.user_id,
        "api_key_id": admission.api_key_id,
        "requested_model": admission.requested_model,
        "target_model": admission.target_model,
        "upstream": admission.upstream,
        "streamed": admission.streamed,
        "own_credential": admission.own_credential,
        "session_id": _short(admission.session_id),
        "agent_id": _short(admission.agent_id),
        "parent_agent_id": _short(admission.parent_agent_id),
        "admitted_at": datetime.now(UTC),
    }
    try:
        await writer.current().write(_ADMIT, row)
    except writer.WriterUnavailableError as error:
        raise LedgerUnavailableError("the ledger is not available") from error


def close(record_id: uuid.UUID, closing: Closing) -> None:
    """Close the row. It is written soon, also when the request that says so is being cancelled."""
    counts = TokenCounts.of(closing.usage)
    row = {
        "state": closing.state.value,
        "closed_at": datetime.now(UTC),
        "duration_ms": closing.duration_ms,
        "upstream": closing.upstream,
        "target_model": closing.target_model,
        "own_credential": closing.own_credential,
        "moved_from": closing.moved_from,
        "attempts": closing.attempts,
        "first_byte_ms": closing.first_byte_ms,
        "status": closing.status,
        "stop_reason": _short(closing.stop_reason),
        "error_type": _short(closing.error_type),
        "message_id": _short(closing.message_id),
        "served_model": _short(closing.served_model),
        "upstream_request_id": _short(closing.upstream_request_id),
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "cache_read_tokens": counts.cache_read_tokens,
        "cache_write_5m_tokens": counts.cache_write_5m_tokens,
        "cache_write_1h_tokens": counts.cache_write_1h_tokens,
        "server_tool_uses": counts.server_tool_uses,
        "usage": _stored(closing.usage),
        "id": record_id,  # last: it is what the others are set for
    }
    writer.current().put(_CLOSE, row)


def move(record_id: uuid.UUID, *, upstream: str, moved_from: str) -> None:
    """Say now that a failure has moved the request: its end may be many minutes away."""
    row = {"upstream": upstream, "moved_from": moved_from, "id": record_id}
    writer.current().put(_MOVE, row)


Move = tuple[datetime, str, str, str]  # when, for which model, from and to which upstream


def moves(since: datetime, most: int) -> dict[tuple[uuid.UUID, str], list[Move]]:
    """The sessions that a failure has moved to another upstream, each with its moves.

    The newest `most` are read; in an outage there may be many. Where no upstream answered, nothing
    has moved.
    """
    rows = (
        UsageRecord.objects.filter(Q(status=200) | Q(state=State.ADMITTED), admitted_at__gte=since)
        .exclude(moved_from="")
        .exclude(session_id="")
        .order_by("-admitted_at")
        .values_list(
            "organization_id",
            "session_id",
            "admitted_at",
            "requested_model",
            "moved_from",
            "upstream",
        )[:most]
    )
    found: dict[tuple[uuid.UUID, str], list[Move]] = {}
    for organization_id, session_id, at, model, origin, to in rows:
        found.setdefault((organization_id, session_id), []).append((at, model, origin, to))
    return found


def _stored(usage: Mapping[str, Any]) -> str | None:
    """The usage object as JSON that every database takes: no NUL, nothing infinite or endless."""
    text = msgspec.json.encode(usage) if usage else b""
    if not 0 < len(text) <= _USAGE_BYTES:
        return None
    return _NUL.sub(rb"\1", text).decode()


def _short(text: str) -> str:
    # A stranger's name must not make the row fail: PostgreSQL takes no NUL, nobody half a pair.
    return text[:_TEXT_CHARS].replace("\0", "").encode(errors="replace").decode()


def _insert(rows: Sequence[writer.Row]) -> None:
    statement, ways, rest = _insertion(connection.vendor, tuple(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(statement, [_prepared(ways, row) + rest for row in rows])


def _settle(rows: Sequence[writer.Row]) -> None:
    statement, ways = _settlement(connection.vendor, tuple(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(statement, [_prepared(ways, row) for row in rows])


_ADMIT = writer.Statement(1, _insert)
_MOVE = writer.Statement(2, _settle)
_CLOSE = writer.Statement(3, _settle)

# How a value becomes the database's; None where it already is one.
Way = Callable[[Any], Any] | None


@cache
def _insertion(vendor: str, names: tuple[str, ...]) -> tuple[str, list[Way], tuple[Any, ...]]:
    """The statement, how its values are prepared, and those that every new row begins with."""
    fields = {f.attname: f for f in UsageRecord._meta.concrete_fields}
    rest = {name: f.get_default() for name, f in fields.items() if name not in names}
    columns = ", ".join((*names, *rest))
    marks = ", ".join(["%s"] * (len(names) + len(rest)))
    statement = f"INSERT INTO {_TABLE} ({columns}) VALUES ({marks})"  # noqa: S608  (names of ours)
    return statement, [_way(name) for name in names], tuple(rest.values())


@cache
def _settlement(vendor: str, names: tuple[str, ...]) -> tuple[str, list[Way]]:
    """The same for the end. Closed once: a row that somebody else has settled is left as it is."""
    columns = ", ".join(f"{name} = %s" for name in names[:-1])
    statement = f"UPDATE {_TABLE} SET {columns} WHERE id = %s AND state = 'admitted'"  # noqa: S608  (names of ours)
    return statement, [_way(name) for name in names]


def _way(name: str) -> Way:
    """What Django's fields do to a value on its way into the database, looked up once."""
    column = UsageRecord._meta.get_field(name)
    kind = column.target_field if isinstance(column, models.ForeignKey) else column
    if isinstance(kind, models.UUIDField):
        return None if connection.features.has_native_uuid_field else attrgetter("hex")
    if isinstance(kind, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value
    return None


def _prepared(ways: Sequence[Way], row: writer.Row) -> tuple[Any, ...]:
    return tuple(
        value if way is None else way(value) for way, value in zip(ways, row.values(), strict=True)
    )
