"""Whether the tables are those of this release: asked once, by what runs for long."""

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor


def lacking() -> int:
    """How many migrations of this release are not applied. Raises django.db.Error."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def check_migrated() -> None:
    """Raises CommandError on tables of an earlier release, where everything would fail.

    Those of a later one are fine, for they only have more. A database that does not answer says
    nothing: whoever needs it says so later, to whoever asks.
    """
    try:
        count = lacking()
    except (OperationalError, InterfaceError):
        return
    if count:
        raise CommandError(
            f"The database lacks {count} migrations of this release."
            " Back it up, then run: manage.py migrate"
        )
