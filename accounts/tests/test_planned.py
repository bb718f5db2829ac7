"""Statements that PostgreSQL plans once for a connection."""

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from accounts import planned
from accounts.models import Organization

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="SQLite plans nothing ahead, nor do we for it"
    ),
]
SQL = "SELECT %s::int + 40"


def run(value: object) -> int:
    with planned.cursor() as cursor:
        cursor.execute(SQL, [value])
        return int(cursor.fetchone()[0])


def plans() -> int:
    """How many of them this connection keeps."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%+ 40'")
        return int(cursor.fetchone()[0])


def test_it_is_planned_once_however_often_it_runs() -> None:
    assert [run(number) for number in range(4)] == [40, 41, 42, 43]
    assert plans() == 1


def test_it_is_not_where_the_setting_says_so(settings: object) -> None:
    settings.DATABASE_PREPARED = False  # type: ignore[attr-defined]  # pytest-django's fixture
    before = plans()
    assert [run(number) for number in range(4)] == [40, 41, 42, 43]
    assert plans() == before


def test_its_errors_are_django_s_and_its_transaction_is_ended() -> None:
    with pytest.raises(DataError), transaction.atomic():
        run("many")
    organization = Organization.objects.create(name="Acme")
    with pytest.raises(IntegrityError), transaction.atomic(), planned.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_organization SELECT * FROM accounts_organization WHERE id = %s",
            [organization.id],
        )
    assert run(2) == 42


def test_it_does_not_run_in_a_transaction_that_is_broken() -> None:
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        transaction.set_rollback(True)
        run(2)
