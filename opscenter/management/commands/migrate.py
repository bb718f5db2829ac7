"""Django's `migrate`, of which only one runs at a time, and which waits for no table for long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.utils import CursorWrapper

LOCK = 0x0C5  # any number that nobody else takes on this database
# Whoever waits for a table holds up all who come after: better to give up and try again later.
WAIT_MS = 10_000
AGAIN_S = 0.5  # between two looks whether the other process is through


class Command(migrate.Command):
    """Two containers that start at once both migrate; the second finds nothing left to do."""

    def handle(self, *args: Any, **options: Any) -> None:
        with self._alone(options["database"]):
            super().handle(*args, **options)

    @contextmanager
    def _alone(self, database: str) -> Iterator[None]:
        connection = connections[database]
        if connection.vendor != "postgresql":  # SQLite lets one write at a time anyhow
            yield
            return
        with connection.cursor() as cursor:
            if not _taken(cursor):
                self.stdout.write("Another process is migrating this database; waiting for it.")
                # Asking, not waiting in the database: an index that is built beside writes waits
                # for whoever waits there, and each would wait for the other.
                while not _taken(cursor):
                    threading.Event().wait(AGAIN_S)
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{WAIT_MS}ms"])
        try:
            yield
        finally:
            connection.close()  # the lock ends with it, and so does the time-out


def _taken(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    return bool(cursor.fetchone()[0])
