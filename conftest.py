"""What every test folder shares: the test database and its end, and counters that begin at 0."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.core.cache import caches
from django.db import connection
from django_ratelimit import core
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from accounts import failures
from tests import migrated

# Whether an example was made or tried slowly says how busy the machine is, and nothing of the code.
settings.register_profile(
    "suite", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """pytest-django's own, but for how tables are emptied, and its end.

    Async tests read on threads of their loops, and such a thread may outlive its loop with its
    connection. PostgreSQL drops no database that somebody is connected to, be it idle.
    """
    if connection.vendor == "postgresql":
        vars(connection.ops)["sql_flush"] = migrated.deletions
        vars(connection.ops)["execute_sql_flush"] = migrated.delete
    with django_db_blocker.unblock():
        migrated.begin()
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the test's own transaction, if it has one."""
    migrated.before(item)


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters at 0, and no window of theirs that ends in the middle of a test."""
    now = time.time()
    monkeypatch.setattr(core, "time", SimpleNamespace(time=lambda: now))
    caches["default"].clear()
    failures._until.clear()
