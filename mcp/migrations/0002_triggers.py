"""What no constraint can keep: a final call stays, a fence never falls, each change has its event.

A later migration that makes SQLite rebuild the table of calls drops them there and must make them
again: those of `0003`, `0005` and `0007`.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# mcp/states.py as it was; a migration holds its own copy.
NEXT = {
    "queued": ["leased", "cancelled", "expired"],
    "leased": ["queued", "running", "cancelled", "expired"],
    "running": ["queued", "orphaned", "succeeded", "failed", "cancelled", "lost"],
    "orphaned": ["succeeded", "failed", "cancelled", "lost"],
}
STEPS = ", ".join(f"'{old}>{new}'" for old, news in NEXT.items() for new in news)
OTHER_TENANT = (
    "NEW.organization_id <> (SELECT organization_id FROM mcp_connector WHERE id = NEW.connector_id)"
)
EVENT = "INSERT INTO mcp_toolcallevent (call_id, at, state, fence) VALUES (NEW.id, {now}, NEW.state, NEW.fence)"
RULES = {  # each a condition on OLD and NEW that must not hold, and what is then said
    "final": ("OLD.finished_at IS NOT NULL", "a final call stays as it is"),
    "fence": ("NEW.fence < OLD.fence", "a fence never falls"),
    "step": (
        f"NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ({STEPS})",
        "no such step in the life of a call",
    ),
    "moved": (
        "NEW.organization_id <> OLD.organization_id OR NEW.connector_id <> OLD.connector_id",
        "a call stays with its connector",
    ),
}


def make(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for statement in _sqlite() if editor.connection.vendor == "sqlite" else _postgresql():
        editor.execute(statement, params=None)


def remove(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "sqlite":
        for name in [*RULES, "tenant", "made", "changed"]:
            editor.execute(f"DROP TRIGGER mcp_call_{name}", params=None)
        return
    for name in ("guard", "event"):
        editor.execute(f"DROP TRIGGER mcp_call_{name} ON mcp_toolcall", params=None)
        editor.execute(f"DROP FUNCTION mcp_call_{name}()", params=None)


def _sqlite() -> list[str]:
    event = EVENT.format(now="STRFTIME('%Y-%m-%d %H:%M:%f', 'now')")
    guards = [
        f"CREATE TRIGGER mcp_call_{name} BEFORE UPDATE ON mcp_toolcall WHEN {wrong}"
        f" BEGIN SELECT RAISE(ABORT, '{said}'); END"
        for name, (wrong, said) in RULES.items()
    ]
    return [
        *guards,
        f"CREATE TRIGGER mcp_call_tenant BEFORE INSERT ON mcp_toolcall WHEN {OTHER_TENANT}"
        " BEGIN SELECT RAISE(ABORT, 'a call is of the organization of its connector'); END",
        f"CREATE TRIGGER mcp_call_made AFTER INSERT ON mcp_toolcall BEGIN {event}; END",
        "CREATE TRIGGER mcp_call_changed AFTER UPDATE OF state ON mcp_toolcall"
        f" WHEN NEW.state <> OLD.state BEGIN {event}; END",
    ]


def _postgresql() -> list[str]:
    def raised(said: str) -> str:
        return f"RAISE EXCEPTION '{said}' USING ERRCODE = 'check_violation'"

    guards = " ".join(f"IF {wrong} THEN {raised(said)}; END IF;" for wrong, said in RULES.values())
    event = EVENT.format(now="clock_timestamp()")
    return [
        "CREATE FUNCTION mcp_call_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'INSERT' THEN IF {OTHER_TENANT} THEN"
        f" {raised('a call is of the organization of its connector')}; END IF; RETURN NEW; END IF;"
        f" {guards} RETURN NEW; END $$",
        "CREATE FUNCTION mcp_call_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'INSERT' OR NEW.state <> OLD.state THEN {event}; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER mcp_call_guard BEFORE INSERT OR UPDATE ON mcp_toolcall"
        " FOR EACH ROW EXECUTE FUNCTION mcp_call_guard()",
        "CREATE TRIGGER mcp_call_event AFTER INSERT OR UPDATE ON mcp_toolcall"
        " FOR EACH ROW EXECUTE FUNCTION mcp_call_event()",
    ]


class Migration(migrations.Migration):
    dependencies = [("mcp", "0001_initial")]
    operations = [migrations.RunPython(make, remove)]
