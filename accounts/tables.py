"""Whether the tables are those of this release: asked once, by what runs for long."""

from django.core.management.base import CommandError
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor


def check_migrated() -> None:
    """Raises CommandError on tables of an earlier release, where everything would fail.

    Those of a later one are fine, for they only have more. A database that does not answer says
    nothing: whoever needs it says so later, to whoever asks.
    """
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        return
    if missing:
        raise CommandError(
            f"The database lacks {len(missing)} migrations of this release."
            " Back it up, then run: manage.py migrate"
        )
