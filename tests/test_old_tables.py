"""What runs for long does not start on tables that lack a migration of its release."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from accounts import tables

Forget = Callable[[str], None]


@pytest.fixture
def forget(db: None) -> Forget:
    """As if this app's newest migration had not been applied."""

    def one(app: str) -> None:
        newest = MigrationRecorder.Migration.objects.filter(app=app).order_by("-name")
        MigrationRecorder.Migration.objects.filter(pk=newest.values("pk")[0]["pk"]).delete()

    return one


def test_neither_exporter_nor_reaper_starts_on_them(forget: Forget, settings: Any) -> None:
    settings.LAGO_API_URL, settings.LAGO_API_KEY = "http://127.0.0.1:9", "key"
    forget("billing")
    for command in ("exportusage", "reapcalls"):
        with pytest.raises(CommandError, match=r"lacks 1 migrations .* manage.py migrate"):
            call_command(command, "--once")


def test_tables_of_a_later_release_are_fine(db: None) -> None:
    MigrationRecorder.Migration.objects.create(app="billing", name="9999_of_a_later_release")
    call_command("reapcalls", "--once")


def test_a_database_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    # The database of the run is there, and other tests need it.
    monkeypatch.setattr(MigrationExecutor, "__init__", away)
    tables.check_migrated()
