"""Which step of a request a call belongs to; it stays as it is when the call has ended."""

from importlib import import_module

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

FORMER = import_module("mcp.migrations.0003_approvals")
OF_A_CALL = [*FORMER.OF_A_CALL, "step"]
NAME = "call_final"


def make(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    _make(editor, OF_A_CALL)


def remake(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    _make(editor, FORMER.OF_A_CALL)


def _make(editor: BaseDatabaseSchemaEditor, columns: list[str]) -> None:
    """The trigger that keeps a final call, over these columns."""
    table, _, wrong, said = FORMER.RULES[NAME]
    is_sqlite = editor.connection.vendor == "sqlite"
    if is_sqlite:
        editor.execute(f"DROP TRIGGER mcp_{NAME}", params=None)
    else:
        editor.execute(f"DROP TRIGGER mcp_{NAME} ON {table}", params=None)
        editor.execute(f"DROP FUNCTION mcp_{NAME}()", params=None)
    write = FORMER._in_sqlite if is_sqlite else FORMER._in_postgresql
    for statement in write(NAME, table, f"UPDATE OF {', '.join(columns)}", wrong, said):
        editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("mcp", "0004_tasks")]

    operations = [
        migrations.AddField(
            model_name="task",
            name="step",
            field=models.UUIDField(help_text="The row of the ledger that it is part of", null=True),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="step",
            field=models.UUIDField(
                help_text="The row of the ledger whose answer called it", null=True
            ),
        ),
        migrations.RunPython(make, remake),
    ]
