"""Expand and contract: while a new release migrates, the former one goes on serving.

So a migration only adds, and what it adds the former release need not know. What nobody needs any
more goes with a later release, in a migration that says so: `contracts = True`.
"""

from collections.abc import Iterable

from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

OURS = ("accounts", "billing", "mcp", "proxy")
# Of before there was a release that anybody could be on.
UNRELEASED = {"accounts": 5, "billing": 10, "mcp": 6, "proxy": 6}
HARMLESS = (
    migrations.CreateModel,
    migrations.AddIndex,
    migrations.RunPython,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
)


def test_what_is_released_only_adds() -> None:
    found = [
        f"{app}.{name}: {fault}"
        for (app, name), migration in MigrationLoader(None).disk_migrations.items()
        if app in OURS and int(name[:4]) > UNRELEASED[app]
        if not getattr(migration, "contracts", False)
        for fault in faults(migration.operations)
    ]
    assert found == []


def faults(operations: Iterable[Operation]) -> list[str]:
    """What of these the former release could not live with."""
    return [one.describe() for one in operations if not is_harmless(one)]


def is_harmless(operation: Operation) -> bool:
    if isinstance(operation, migrations.AddField):
        field = operation.field  # the former release inserts rows without it
        return field.null or field.has_db_default()
    if isinstance(operation, migrations.AlterField):
        return bool(operation.field.choices)  # choices stand in no table
    return isinstance(operation, HARMLESS)


def test_it_tells_them_apart() -> None:
    number = models.IntegerField
    good: list[Operation] = [
        migrations.AddField("a", "b", number(null=True)),
        migrations.AddField("a", "b", number(db_default=0)),
        migrations.AddIndex("a", models.Index(fields=["b"], name="by_b")),
    ]
    bad: list[Operation] = [
        migrations.AddField("a", "b", number(default=0)),
        migrations.AlterField("a", "b", number()),
        migrations.RemoveField("a", "b"),
        migrations.RenameField("a", "b", "c"),
        migrations.DeleteModel("a"),
        migrations.RunSQL("DROP TABLE a"),
    ]
    assert faults(good) == []
    assert len(faults(bad)) == len(bad)
