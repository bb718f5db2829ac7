"""How the ledger's rows are written: by the writer, each kind of a batch in one statement.

A row, its allowances, its sums and its event for Lago change in one transaction, or none does.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, models

from billing import alarms, allowances, rollups, together, writer
from billing.allowances import Denied, Granted, Release, Reservation
from billing.models import OutboxEvent, UsageRecord
from billing.rollups import Use

_TABLE = UsageRecord._meta.db_table
_OUTBOX = OutboxEvent._meta.db_table
Columns = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A row to begin with, and what it must find room for."""

    id: UUID
    columns: Columns
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a row that is still open."""

    id: UUID
    columns: Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a row, and what else follows from it."""

    id: UUID
    columns: Columns
    use: Use
    release: Release | None = None
    has_event: bool = False
    is_swept: bool = False  # the end is our guess, so whoever was faster is right and all is well


def _admit(openings: Sequence[Opening]) -> list[Granted | Denied]:
    """Reserve for each row, then insert those that found room."""
    with connection.cursor() as cursor:
        outcomes = _reserve(cursor, openings)
        admitted = [
            one.columns
            for one, outcome in zip(openings, outcomes, strict=True)
            if isinstance(outcome, Granted)
        ]
        if admitted:
            insert(cursor, admitted)
    return outcomes


def _reserve(cursor: Any, openings: Sequence[Opening]) -> list[Granted | Denied]:
    found = iter(together.reserve(cursor, [one.reservation for one in openings if one.reservation]))
    return [Granted() if one.reservation is None else next(found) for one in openings]


def insert(cursor: Any, rows: Sequence[Columns]) -> None:
    """Insert rows that name the same columns; the other columns get their defaults."""
    statement, ways, rest = _insertion(connection.vendor, tuple(rows[0]))
    cursor.executemany(statement, [_prepared(ways, row) + rest for row in rows])


def _change(changes: Sequence[Change]) -> None:
    with connection.cursor() as cursor:
        _update(cursor, changes)


def _close(endings: Sequence[Ending]) -> None:
    """Close rows that are open, and only for these do what follows."""
    with connection.cursor() as cursor:
        if _update(cursor, endings) == len(endings):
            allowances.settle(cursor, [one.release for one in endings if one.release])
            rollups.add(cursor, [one.use for one in endings])
            queue(cursor, [one.id for one in endings if one.has_event])
        elif len(endings) > 1:
            raise writer.OneByOneError  # somebody else has settled one of them: find out which
        elif not endings[0].is_swept:
            _tell_lost(cursor, endings[0])


def _update(cursor: Any, changes: Sequence[Change] | Sequence[Ending]) -> int:
    """Set the columns where the row is still open; how many were."""
    statement, ways = _settlement(connection.vendor, tuple(changes[0].columns))
    key = _way("id") or _itself
    cursor.executemany(statement, [(*_prepared(ways, one.columns), key(one.id)) for one in changes])
    found: int = cursor.rowcount
    return found


def queue(cursor: Any, record_ids: Iterable[UUID]) -> None:
    """Put the rows' events into the outbox."""
    key = _way("id") or _itself
    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    events = [(key(record_id), now) for record_id in record_ids]
    if events:
        cursor.executemany(
            f"INSERT INTO {_OUTBOX} (record_id, state, attempts, reason, queued_at)"  # noqa: S608  (names of ours)
            " VALUES (%s, 'pending', 0, '', %s) ON CONFLICT (record_id) DO NOTHING",
            events,
        )


def _tell_lost(cursor: Any, ending: Ending) -> None:
    """A row that was settled before its end. One that was never admitted is no loss."""
    key = _way("id") or _itself
    cursor.execute(f"SELECT state FROM {_TABLE} WHERE id = %s", (key(ending.id),))  # noqa: S608  (names of ours)
    if cursor.fetchone():
        alarms.sound(alarms.Code.LOST_CLOSING, f"req_{ending.id.hex}")


def _bound_names(openings: Sequence[Opening]) -> Iterable[str]:
    return (b.id for one in openings if one.reservation for b in one.reservation.bounds)


def _released_names(endings: Sequence[Ending]) -> Iterable[str]:
    return (name for one in endings if one.release for name in one.release.allowances)


ADMIT = writer.Statement(1, _admit, _bound_names)
CHANGE = writer.Statement(2, _change)
CLOSE = writer.Statement(3, _close, _released_names)

# How a value becomes the database's; None where it already is one.
Way = Callable[[Any], Any] | None


def _itself(value: Any) -> Any:
    return value


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
    """The same for a change. Closed once: a row that somebody has settled is left as it is."""
    columns = ", ".join(f"{name} = %s" for name in names)
    statement = f"UPDATE {_TABLE} SET {columns} WHERE id = %s AND state = 'admitted'"  # noqa: S608  (names of ours)
    return statement, [_way(name) for name in names]


@cache
def _way(name: str) -> Way:
    """What Django's fields do to a value on its way into the database, looked up once."""
    column = UsageRecord._meta.get_field(name)
    kind = column.target_field if isinstance(column, models.ForeignKey) else column
    if isinstance(kind, models.UUIDField):
        return None if connection.features.has_native_uuid_field else _hex
    if isinstance(kind, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value
    return None


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _prepared(ways: Sequence[Way], row: Columns) -> tuple[Any, ...]:
    return tuple(
        value if way is None else way(value) for way, value in zip(ways, row.values(), strict=True)
    )
