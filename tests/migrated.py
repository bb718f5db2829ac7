"""What migrations wrote, for the tests that find it there, in whichever order tests come.

A test in a transaction finds the tables as they are after `migrate`; one without truncates them at
its end, and finds them empty. pytest-django runs all of the former first, but only those that one
process finds: where files of tests are shared among processes, either may come first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

import pytest
from django.apps import apps
from django.core import serializers
from django.core.management import call_command
from django.core.management.color import Style, no_style
from django.db import connection, transaction
from pytest_django.plugin import blocking_manager_key

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
        # As TRUNCATE does, wait for whoever is writing: those rows go too.
        f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE;",
        "SET LOCAL session_replication_role = replica;",  # no foreign key counts, and no trigger
        *(f"DELETE FROM {name};" for name in names),  # noqa: S608  (names of our own models)
        "SET LOCAL session_replication_role = DEFAULT;",
    ]


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
