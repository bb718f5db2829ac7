"""What migrations wrote, for the tests that find it there, in whichever order tests come.

A test in a transaction finds the tables as they are after `migrate`; one without truncates them at
its end, and finds them empty. pytest-django runs all of the former first, but only those that one
process finds: where files of tests are shared among processes, either may come first.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

import pytest
from django.apps import apps
from django.core import serializers
from django.core.management import call_command
from django.core.management.color import Style, no_style
from django.db import OperationalError, connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from psycopg.errors import LockNotAvailable
from pytest_django.plugin import blocking_manager_key

from tests import gateway as gateways

WRITERS_S = 30  # a gateway that a test has frozen keeps its rows for 10
REMADE = {"contenttypes", "auth"}  # Django makes these rows again itself


@dataclass(slots=True)
class State:
    """Of the tables, between two tests."""

    rows: str = ""  # until the first test that needs tables has made them
    are_there: bool = True


_state = State()


def begin() -> None:
    """Keep what is in the tables now, just after they were made."""
    kept = StringIO()
    models = (
        m for app in apps.get_app_configs() if app.label not in REMADE for m in app.get_models()
    )
    found = (row for model in models for row in model._base_manager.order_by("pk"))
    serializers.serialize("json", found, stream=kept)
    _state.rows = kept.getvalue()
    if not _state.are_there:  # the first test is one that finds them empty
        _empty()


def deletions(style: Style, tables: Sequence[str], **_: bool) -> list[str]:
    """What empties the `tables` on PostgreSQL after a test, as Django's `sql_flush` gives it.

    TRUNCATE, Django's own, makes new files for each table and index: 0.2 s, however few the rows.
    """
    names = [connection.ops.quote_name(table) for table in tables]
    if not names:
        return []
    return [
        # Every table or none, and nobody else has a row of theirs. Whoever waited for the next one
        # would wait in a circle with a gateway that is writing in another order.
        f"LOCK TABLE {', '.join(names)} IN EXCLUSIVE MODE NOWAIT;",
        "SET LOCAL session_replication_role = replica;",  # no foreign key counts, and no trigger
        *(f"DELETE FROM {name};" for name in names),  # noqa: S608  (names of our own models)
        "SET LOCAL session_replication_role = DEFAULT;",
    ]


def delete(statements: Iterable[str]) -> None:
    """Carry out `deletions` once nobody is writing: those rows go too.

    OperationalError when somebody still is after `WRITERS_S`.
    """
    end = time.monotonic() + WRITERS_S
    while True:
        try:
            BaseDatabaseOperations.execute_sql_flush(connection.ops, statements)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable) or time.monotonic() > end:
                raise
            gateways.pause(0.01)
        else:
            return


def before(item: pytest.Item) -> None:
    """Bring the tables into the state in which this test finds them."""
    marker = item.get_closest_marker("django_db")
    fixtures = getattr(item, "fixturenames", [])
    truncates = "transactional_db" in fixtures or bool(marker and marker.kwargs.get("transaction"))
    if not (truncates or marker or "db" in fixtures):
        return
    if _state.rows and _state.are_there == truncates:
        with item.config.stash[blocking_manager_key].unblock():
            _empty()  # a gateway may still have written what it knew of the last test
            if not truncates:
                _restore()
    _state.are_there = not truncates


def _empty() -> None:
    call_command("flush", interactive=False, verbosity=0)


def _restore() -> None:
    with transaction.atomic():
        models = set()
        for row in serializers.deserialize("json", _state.rows):
            row.save()
            models.add(type(row.object))
        # Saved under the ids they had, so PostgreSQL would give those to the next rows again.
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), list(models)):
                cursor.execute(statement)
