"""Queries that Django writes once. From then on they run with other values.

A tool call asks the database a dozen times on its way. Django takes several times as long to write
such a query as the database to answer it, and it writes the same one each time.
"""

import inspect
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, get_args
from uuid import UUID, uuid4

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.db.models.expressions import DatabaseDefault
from django.db.models.sql import InsertQuery, UpdateQuery

from accounts import planned
from accounts.planned import Statement

Rows = list[Any]
Form = Callable[[Any], Any]  # from a value to what the database's driver is given
Change = tuple[QuerySet[Any, Any], Mapping[str, Any]]
Put = tuple[Model, QuerySet[Any, Any]]
Told = tuple[QuerySet[Any, Any], Mapping[str, Any], QuerySet[Any, Any]]
R = TypeVar("R")

# What stands for a value of each type while the query is written: nothing that it holds otherwise.
_MARKS: Mapping[type, Callable[[], Any]] = {
    UUID: uuid4,
    int: lambda: 10**9 + secrets.randbelow(10**9),
    str: lambda: f"mark {uuid4()}",
    timedelta: lambda: timedelta(seconds=10**6 + secrets.randbelow(10**6)),
}
_FORMS: Sequence[Form] = (
    lambda value: value,
    lambda value: value.hex,  # a UUID in SQLite
    lambda value: value // timedelta(microseconds=1),  # a timedelta there
    lambda value: str(value // timedelta(microseconds=1)),
)
_all: "list[Prepared[Any]]" = []


class UnplacedError(Exception):
    """A query that would not be run with one of its values: a defect of who wrote it."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A query in SQL, with places for its values."""

    sql: str
    params: tuple[Any, ...]
    places: tuple[tuple[int, str, Form], ...]
    read: Callable[[Any], Any]  # what comes of the cursor

    def with_values(self, values: Mapping[str, Any]) -> Statement:
        params = list(self.params)
        for at, name, form in self.places:
            value = values[name]
            params[at] = None if value is None else form(value)
        return Statement(self.sql, params, self.read)


class Prepared(Generic[R]):
    """A query that `write` says, with its arguments for values. Only keywords are taken.

    Arguments of the types in _MARKS are values, or None where they may be; others shape the query,
    which is written for each.
    """

    def __init__(self, write: Callable[..., Any], turn: Callable[[Any], Any], nothing: R) -> None:
        self._write, self._turn, self._nothing = write, turn, nothing
        self._written: dict[tuple[Any, ...], _Written] = {}
        kinds = {
            one.name: _value_of(one.annotation)
            for one in inspect.signature(write).parameters.values()
        }
        self._marked = {name: kind for name, kind in kinds.items() if kind in _MARKS}
        self._shaping = [name for name in kinds if name not in self._marked]
        _all.append(self)

    def __call__(self, **values: Any) -> R:
        try:
            statement = self.statement(**values)
        except EmptyResultSet:  # no row can be meant
            return self._nothing
        found: R = planned.run(statement)
        return found

    def statement(self, **values: Any) -> Statement:
        """To be run with others. Raises EmptyResultSet where no row can be meant."""
        shape = tuple([values[name] for name in self._shaping])
        written = self._written.get(shape) or self._put_down(shape, values)
        return written.with_values(values)

    def forget(self) -> None:
        self._written.clear()

    def _put_down(self, shape: tuple[Any, ...], values: Mapping[str, Any]) -> _Written:
        marks = {name: _MARKS[kind]() for name, kind in self._marked.items()}
        with transaction.atomic():  # outside of one Django writes no lock of rows
            sql, params, read = self._turn(self._write(**{**values, **marks}))
        places = tuple(
            (at, name, form)
            for at, param in enumerate(params)
            for name, mark in marks.items()
            if (form := _form_of(mark, param)) is not None
        )
        if missing := marks.keys() - {name for _, name, _ in places}:
            raise UnplacedError(f"{self._write.__name__} does not use {missing} as values")
        written = self._written[shape] = _Written(sql, tuple(params), places, read)
        return written


def select(write: Callable[..., QuerySet[Any, Any]]) -> Prepared[Rows]:
    """Of a query with `values_list`: its rows."""
    return Prepared(write, _selecting, [])


def update(write: Callable[..., Change]) -> Prepared[int]:
    """Of a query and what it changes: how many rows were changed."""
    return Prepared(write, _updating, 0)


def changed(write: Callable[..., Told]) -> Prepared[Rows]:
    """As `update`, with a query whose `values_list` says what is told of the rows as they are then.

    In no order. The query's own conditions count for nothing.
    """
    return Prepared(write, _telling, [])


def insert_unless(write: Callable[..., Put]) -> Prepared[int]:
    """Of a model that is to be a new row, and a query: one, or none where that finds anything."""
    return Prepared(write, _inserting, 0)


def forget() -> None:
    """Have each query written anew, as after its conditions or the clock were changed."""
    for one in _all:
        one.forget()


def _value_of(annotation: Any) -> Any:
    """`UUID | None` is UUID."""
    found = [one for one in get_args(annotation) if one is not NoneType]
    return found[0] if isinstance(annotation, UnionType) and len(found) == 1 else annotation


def _form_of(mark: Any, param: Any) -> Form | None:
    """How the mark came to be this parameter; None where it did not."""
    for form in _FORMS:
        with suppress(AttributeError, TypeError):
            shown = form(mark)
            if shown == param and isinstance(param, type(shown)):
                return form if type(param) is type(shown) else _as(type(param), form)
    return None


def _as(kind: type, form: Form) -> Form:
    """In a type of the driver's: to PostgreSQL a number says how large it is."""
    return lambda value: kind(form(value))


def _selecting(query: QuerySet[Any, Any]) -> tuple[str, Sequence[Any], Callable[[Any], Rows]]:
    compiler = query.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    return sql, params, _reading(compiler)


def _reading(compiler: Any) -> Callable[[Any], Rows]:
    converters = compiler.get_converters([column for column, _, _ in compiler.select])

    def read(cursor: Any) -> Rows:
        rows = cursor.fetchall()
        if converters:
            rows = compiler.apply_converters(rows, converters)
        return [tuple(row) for row in rows]

    return read


def _updating(change: Change) -> tuple[str, Sequence[Any], Callable[[Any], int]]:
    rows, changes = change
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    query.clear_ordering(force=True)
    sql, params = query.get_compiler(connection=connection).as_sql()
    return sql, params, lambda cursor: cursor.rowcount


def _telling(told: Told) -> tuple[str, Sequence[Any], Callable[[Any], Rows]]:
    rows, changes, query = told
    sql, params, _ = _updating((rows, changes))
    compiler = query.query.get_compiler(connection=connection)
    compiler.setup_query()
    columns = [column for _, column, _ in compiler.select]
    returning = ", ".join(text for text, _ in columns)
    more = [param for _, own in columns for param in own]
    return f"{sql} RETURNING {returning}", [*params, *more], _reading(compiler)


def _inserting(put: Put) -> tuple[str, Sequence[Any], Callable[[Any], int]]:
    row, others = put
    query = InsertQuery(type(row))
    said = vars(row)
    fields = [one for one in row._meta.concrete_fields if not _is_default(said[one.attname])]
    query.insert_values(fields, [row])
    ((sql, params),) = query.get_compiler(connection=connection).as_sql()
    unless, more, _ = _selecting(others)
    into, _, values = sql.partition(" VALUES ")
    text = f"{into} SELECT {values[1:-1]} WHERE NOT EXISTS ({unless})"
    return text, [*params, *more], lambda cursor: cursor.rowcount


def _is_default(value: Any) -> bool:
    """Whether the database is to say it, as it does where a new row has no such column."""
    return isinstance(value, DatabaseDefault)
