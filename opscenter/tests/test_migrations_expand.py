"""Expand and contract: while a new release migrates, the former one goes on serving.

So a migration only adds, and what it adds the former release need not know. What nobody needs any
more goes with a later release, in a migration that says so: `contracts = True`.

Rows are written meanwhile, too. On PostgreSQL an index is built while they wait, all of them; so a
table that is there already gets one by `AddIndexBesideWrites`, also for a field that is new.
"""

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any

from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from accounts.long_tables import AddIndexBesideWrites

OURS = ("accounts", "billing", "mcp", "proxy")
# Of before there was a release that anybody could be on.
UNRELEASED = {"accounts": 5, "billing": 10, "mcp": 6, "proxy": 6}
HARMLESS = (
    migrations.CreateModel,
    AddIndexBesideWrites,
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


def faults(operations: Sequence[Operation]) -> list[str]:
    """What of these the former release could not live with."""
    new = {one.name_lower for one in operations if isinstance(one, migrations.CreateModel)}
    return [one.describe() for one in operations if not is_harmless(one, new)]


def is_harmless(operation: Operation, new: Container[str] = ()) -> bool:
    """`new`: tables that nobody writes to yet."""
    if isinstance(operation, migrations.AddField):
        field = operation.field  # the former release inserts rows without it
        is_indexed = getattr(field, "db_index", False) or field.unique
        is_optional = field.null or field.has_db_default()
        return operation.model_name_lower in new or (is_optional and not is_indexed)
    if isinstance(operation, migrations.AlterField):
        return bool(operation.field.choices)  # choices stand in no table
    if isinstance(operation, migrations.AddIndex) and operation.model_name_lower in new:
        return True
    return isinstance(operation, HARMLESS)


def test_it_tells_them_apart() -> None:
    number = models.IntegerField
    by_b = models.Index(fields=["b"], name="by_b")
    to_c: Callable[..., Any] = partial(models.ForeignKey, "c", models.CASCADE, null=True)  # type: ignore[misc]  # no row of it is read
    good: list[Operation] = [
        migrations.AddField("a", "b", number(null=True)),
        migrations.AddField("a", "b", number(db_default=0)),
        AddIndexBesideWrites("a", by_b),
        migrations.AddField("a", "b", to_c(db_index=False)),
        migrations.CreateModel("New", []),
        migrations.AddIndex("new", by_b),
        migrations.AddField("new", "b", to_c()),
    ]
    bad: list[Operation] = [
        migrations.AddField("a", "b", number(default=0)),
        migrations.AddField("a", "b", number(null=True, db_index=True)),
        migrations.AddField("a", "b", number(null=True, unique=True)),
        migrations.AddField("a", "b", to_c()),
        migrations.AddIndex("a", by_b),
        migrations.AlterField("a", "b", number()),
        migrations.RemoveField("a", "b"),
        migrations.RenameField("a", "b", "c"),
        migrations.DeleteModel("a"),
        migrations.RunSQL("DROP TABLE a"),
    ]
    assert faults(good) == []
    assert len(faults(bad)) == len(bad)
