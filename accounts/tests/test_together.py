"""Statements that run together: all of them or none, and PostgreSQL answers once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from accounts import planned
from accounts.models import Organization
from accounts.planned import Statement

PUT = "INSERT INTO accounts_organization SELECT * FROM accounts_organization WHERE id = %s"
NAME = "UPDATE accounts_organization SET name = %s"
COUNT = "SELECT count(*) FROM accounts_organization WHERE name = %s"
postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="of how PostgreSQL is spoken to"
)


@pytest.fixture(params=["alone", "in a block"])
def where(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    if request.param == "alone":
        yield
        return
    with transaction.atomic():
        yield


@pytest.fixture(autouse=True, params=[True, False], ids=["planned", "plain"])
def is_planned(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.DATABASE_PREPARED = request.param


def named(name: str) -> Statement:
    return Statement(NAME, [name], lambda cursor: cursor.rowcount)


def count(name: str) -> Statement:
    return Statement(COUNT, [name], lambda cursor: cursor.fetchone()[0])


def put_again(organization: Organization) -> Statement:
    """It cannot: there is one of that id."""
    of = organization.id if connection.vendor == "postgresql" else organization.id.hex
    return Statement(PUT, [of], lambda cursor: cursor.rowcount)


@pytest.mark.usefixtures("where")
def test_each_sees_what_those_before_it_did() -> None:
    Organization.objects.create(name="Acme")
    asked = [count("Acme"), named("Emca"), count("Acme"), count("Emca")]
    for _ in range(8):  # from the sixth time on PostgreSQL has it planned
        assert planned.together(asked) == [1, 1, 0, 1]
        assert planned.together([named("Acme")]) == [1]


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("is_first", [True, False])
def test_all_of_them_or_none(*, is_first: bool) -> None:
    organization = Organization.objects.create(name="Acme")
    asked = [named("Emca"), put_again(organization)]
    for _ in range(8):
        with pytest.raises(IntegrityError):
            planned.together(asked[::-1] if is_first else asked)
        assert planned.run(count("Acme")) == 1
    assert planned.together([named("Emca"), count("Emca")]) == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_it_does_not_run_in_a_transaction_that_is_broken() -> None:
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        transaction.set_rollback(True)
        planned.together([count("Acme")])


@postgresql
@pytest.mark.django_db(transaction=True)
def test_its_errors_are_django_s() -> None:
    with pytest.raises(DataError):
        planned.together([Statement("SELECT %s::int", ["many"], lambda cursor: None)])


@postgresql
@pytest.mark.django_db(transaction=True)
def test_postgresql_answers_once(settings: Any, tmp_path: Path) -> None:
    answers = {True: 1, False: 4}  # else each, and the transaction's beginning and end
    for is_planned, wanted in answers.items():
        settings.DATABASE_PREPARED = is_planned
        planned.together([count("Acme"), named("Emca")])
        heard = tmp_path / f"{is_planned}"
        with heard.open("w") as file:
            server = connection.connection.pgconn
            server.trace(file.fileno())
            planned.together([count("Acme"), named("Emca")])
            server.untrace()
        assert heard.read_text().count("ReadyForQuery") == wanted
