"""A cursor for statements that run again and again: PostgreSQL plans each once for a connection.

Django's own cursors put the values into the text, so that every run is a statement of its own; to
plan one takes PostgreSQL longer than to run it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection


@contextmanager
def cursor() -> Iterator[Any]:
    """As `connection.cursor()`. The text of a statement must hold no values."""
    if connection.vendor != "postgresql" or not settings.DATABASE_PREPARED:
        with connection.cursor() as plain:
            yield plain
        return
    from psycopg import Cursor  # SQLite's users need not have it loaded

    connection.validate_no_broken_transaction()
    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as planning:
        yield planning
