"""Statements that run again and again: PostgreSQL plans each once for a connection.

Django's own cursors put the values into the text, so that every run is a statement of its own; to
plan one takes PostgreSQL longer than to run it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction


@dataclass(frozen=True, slots=True)
class Statement:
    """A text that holds no values, its values, and what is read of the cursor that has run it."""

    sql: str
    params: Sequence[Any]
    read: Callable[[Any], Any]


@contextmanager
def cursor() -> Iterator[Any]:
    """As `connection.cursor()`. The text of a statement must hold no values."""
    if not _plans():
        with connection.cursor() as plain:
            yield plain
        return
    with connection.wrap_database_errors, _planning() as planning:
        yield planning


def run(statement: Statement) -> Any:
    """What it reads."""
    with cursor() as cursing:
        cursing.execute(statement.sql, statement.params)
        return statement.read(cursing)


def together(statements: Sequence[Statement]) -> list[Any]:
    """What each reads, one after the other in a transaction, each with what is committed by then.

    PostgreSQL is told them all at once and answers once: on a way that is short otherwise, each
    answer that is waited for costs more than what it says. Nor can a process freeze in between and
    keep its locks.
    """
    if not _plans():
        with transaction.atomic():
            return [run(each) for each in statements]
    with ExitStack() as ending:
        if connection.in_atomic_block:
            ending.enter_context(transaction.atomic())  # what fails leaves that block usable
        ending.enter_context(connection.wrap_database_errors)
        cursors = [ending.enter_context(_planning()) for _ in statements]
        with connection.connection.pipeline():  # a transaction of its own, up to its end
            for each, cursing in zip(statements, cursors, strict=True):
                cursing.execute(each.sql, each.params)
        return [each.read(cursing) for each, cursing in zip(statements, cursors, strict=True)]


def _plans() -> bool:
    return connection.vendor == "postgresql" and bool(settings.DATABASE_PREPARED)


def _planning() -> Any:
    from psycopg import Cursor  # SQLite's users need not have it loaded

    connection.validate_no_broken_transaction()
    connection.ensure_connection()
    return Cursor(connection.connection)
