"""An index beside writes: there afterwards on every database, whatever was left of it before."""

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError
from django.test.utils import CaptureQueriesContext

from accounts.long_tables import AddIndexBesideWrites

ADD = AddIndexBesideWrites("organization", models.Index(fields=["name"], name="org_by_name_t"))


class Adds(migrations.Migration):
    operations = [ADD]
    atomic = False


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "accounts_organization"))


def state() -> ProjectState:
    return MigrationLoader(connection).project_state()


@pytest.mark.django_db(transaction=True)
def test_it_is_there_and_goes_again() -> None:
    migration = Adds("t", "accounts")
    with connection.schema_editor(atomic=False) as editor:
        migration.apply(state(), editor)
    assert "org_by_name_t" in indexes()
    with connection.schema_editor(atomic=False) as editor:
        migration.unapply(state(), editor)
    assert "org_by_name_t" not in indexes()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite leaves no half index")
def test_it_holds_up_no_writer_and_starts_anew_after_one_that_was_cut_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX org_by_name_t ON accounts_organization (id)")
    migration = Adds("t", "accounts")
    with (
        CaptureQueriesContext(connection) as asked,
        connection.schema_editor(atomic=False) as editor,
    ):
        migration.apply(state(), editor)
    said = [query["sql"] for query in asked if "org_by_name_t" in query["sql"]]
    assert [sql.split('"')[0].strip() for sql in said] == [
        "DROP INDEX CONCURRENTLY IF EXISTS",
        "CREATE INDEX CONCURRENTLY",
    ]
    with connection.schema_editor(atomic=False) as editor:
        migration.unapply(state(), editor)


@pytest.mark.django_db(transaction=True)
def test_it_refuses_to_hold_up_everybody_in_a_transaction() -> None:
    with pytest.raises(NotSupportedError), connection.schema_editor(atomic=True) as editor:
        ADD.database_forwards("accounts", editor, state(), state())
