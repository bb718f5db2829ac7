"""A call without effects may begin in the step that hands it out; its trail still says both."""

from importlib import import_module

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

APPROVALS = import_module("mcp.migrations.0003_approvals")
CALL = APPROVALS.CALL
# mcp/states.py as it was; a migration holds its own copy.
NEXT = APPROVALS.NEXT | {"queued": ["leased", "running", "cancelled", "expired"]}
STEPS = ", ".join(f"'{old}>{new}'" for old, news in NEXT.items() for new in news)
RULES = {
    "call_step": (
        CALL,
        "UPDATE",
        f"NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ({STEPS})",
        "no such step in the life of a call",
    ),
    "call_consent": (
        CALL,
        "UPDATE",
        "NEW.state = 'running' AND (OLD.state = 'leased' AND OLD.asked_by <> ''"
        " AND OLD.approval = '' OR OLD.state = 'queued' AND (NEW.has_effects OR NEW.asked_by <> ''))",
        "it begins without the approval that was asked for, or with effects in one step",
    ),
}
FORMER = {name: APPROVALS.RULES[name] for name in RULES}
IN_ONE_STEP = "OLD.state = 'queued' AND NEW.state = 'running'"


def make(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    is_sqlite = editor.connection.vendor == "sqlite"
    _replace(editor, RULES, _events_in_sqlite() if is_sqlite else _events_in_postgresql())


def remake(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    is_sqlite = editor.connection.vendor == "sqlite"
    events = APPROVALS._events_in_sqlite if is_sqlite else APPROVALS._events_in_postgresql
    _replace(editor, FORMER, events())


def _replace(
    editor: BaseDatabaseSchemaEditor, rules: dict[str, tuple[str, ...]], events: list[str]
) -> None:
    if editor.connection.vendor == "sqlite":
        write = APPROVALS._in_sqlite
        gone = [f"DROP TRIGGER mcp_{name}" for name in [*rules, "call_made", "call_changed"]]
        made = [one for name, rule in rules.items() for one in write(name, *rule)]
        statements = [*gone, *made, *events]
    else:  # their functions alone: a trigger would wait for all who read the table, and they for it
        write = APPROVALS._in_postgresql
        functions = [*(write(name, *rule)[0] for name, rule in rules.items()), events[0]]
        statements = [one.replace("CREATE", "CREATE OR REPLACE", 1) for one in functions]
    for statement in statements:
        editor.execute(statement, params=None)


def _events(now: str) -> tuple[str, str]:
    """That it was handed out, and how it is now."""
    event = APPROVALS.EVENT.format(now=now)
    return event.replace("NEW.state", "'leased'"), event


def _events_in_sqlite() -> list[str]:
    leased, event = _events("STRFTIME('%Y-%m-%d %H:%M:%f', 'now')")
    leased = leased.replace("VALUES (", "SELECT ").removesuffix(")")
    return [
        f"CREATE TRIGGER mcp_call_made AFTER INSERT ON {CALL} BEGIN {event}; END",
        f"CREATE TRIGGER mcp_call_changed AFTER UPDATE OF state ON {CALL}"
        f" WHEN NEW.state <> OLD.state BEGIN {leased} WHERE {IN_ONE_STEP}; {event}; END",
    ]


def _events_in_postgresql() -> list[str]:
    leased, event = _events("clock_timestamp()")
    return [
        "CREATE FUNCTION mcp_call_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'UPDATE' THEN IF {IN_ONE_STEP} THEN {leased}; END IF; END IF;"
        f" IF TG_OP = 'INSERT' OR NEW.state <> OLD.state THEN {event}; END IF; RETURN NULL; END $$"
    ]


class Migration(migrations.Migration):
    dependencies = [("mcp", "0006_drained")]
    operations = [migrations.RunPython(make, remake)]
