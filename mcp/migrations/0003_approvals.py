"""Approvals, policies and the audit; and what no constraint of them can keep, in triggers.

The tables of SQLite are rebuilt on the way, which drops the triggers of `0002`: they are taken away
before and made anew after, with what is new.
"""

import datetime
import uuid
from importlib import import_module

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

FORMER = import_module("mcp.migrations.0002_triggers")

# mcp/states.py as it was; a migration holds its own copy.
NEXT = {
    "queued": ["leased", "cancelled", "expired"],
    "approval": ["queued", "failed", "cancelled"],
    "leased": ["queued", "approval", "running", "cancelled", "expired"],
    "running": ["queued", "approval", "orphaned", "succeeded", "failed", "cancelled", "lost"],
    "orphaned": ["succeeded", "failed", "cancelled", "lost"],
}
STEPS = ", ".join(f"'{old}>{new}'" for old, news in NEXT.items() for new in news)
QUESTION = (
    "SELECT 1 FROM mcp_approval WHERE call_id = NEW.id AND digest = NEW.approval"
    " AND state IN ('pending', 'approved')"
)
# All columns of a call but `audited`, which is set after its end.
OF_A_CALL = [
    "id", "organization_id", "user_id", "connector_id", "server", "tool", "method", "params",
    "has_effects", "definition", "decision", "policy_version", "request_id", "tool_use_id",
    "waiter", "state", "fence", "deliveries", "starts", "lease_until", "deadline", "lasts",
    "asked_by", "approval", "cancel_requested", "progress", "outcome", "result", "digest",
    "created_at", "started_at", "finished_at",
]  # fmt: skip
CALL = "mcp_toolcall"
# By name: the table, when, a condition on OLD and NEW that must not hold, and what is then said.
RULES = {
    "call_final": (
        CALL,
        f"UPDATE OF {', '.join(OF_A_CALL)}",
        "OLD.finished_at IS NOT NULL",
        "a final call stays as it is",
    ),
    "call_fence": (CALL, "UPDATE", "NEW.fence < OLD.fence", "a fence never falls"),
    "call_step": (
        CALL,
        "UPDATE",
        f"NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ({STEPS})",
        "no such step in the life of a call",
    ),
    "call_moved": (
        CALL,
        "UPDATE",
        "NEW.organization_id <> OLD.organization_id OR NEW.connector_id <> OLD.connector_id",
        "a call stays with its connector",
    ),
    "call_consent": (
        CALL,
        "UPDATE",
        "OLD.state = 'leased' AND NEW.state = 'running' AND OLD.asked_by <> ''"
        " AND OLD.approval = ''",
        "it begins without the approval that was asked for",
    ),
    "call_approved": (
        CALL,
        "UPDATE",
        f"OLD.state = 'approval' AND NEW.state = 'queued' AND NOT EXISTS ({QUESTION})",
        "nobody was asked about the call that is approved",
    ),
    "call_tenant": (
        CALL,
        "INSERT",
        "NEW.organization_id <>"
        " (SELECT organization_id FROM mcp_connector WHERE id = NEW.connector_id)",
        "a call is of the organization of its connector",
    ),
    "approval_tenant": (
        "mcp_approval",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM mcp_toolcall WHERE id = NEW.call_id"
        " AND organization_id = NEW.organization_id AND connector_id = NEW.connector_id"
        " AND user_id = NEW.user_id)",
        "an approval is of whose call it is",
    ),
    "approval_answered": (
        "mcp_approval",
        "UPDATE",
        "OLD.state <> 'pending' OR NEW.digest <> OLD.digest OR NEW.call_id <> OLD.call_id"
        " OR NEW.organization_id <> OLD.organization_id",
        "an answer stays as it was given",
    ),
    "policy_kept": (
        "mcp_policyversion",
        "UPDATE OF organization_id, version, otherwise, rules, saved_at",
        "",
        "a version of a policy stays as it is",
    ),
    "audit_kept": ("mcp_auditedcall", "UPDATE", "", "the audit stays as it is"),
}
EVENT = FORMER.EVENT


def take_away(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    FORMER.remove(apps, editor)


def bring_back(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    FORMER.make(apps, editor)


def make(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    is_sqlite = editor.connection.vendor == "sqlite"
    for name, rule in RULES.items():
        for statement in (_in_sqlite if is_sqlite else _in_postgresql)(name, *rule):
            editor.execute(statement, params=None)
    for statement in _events_in_sqlite() if is_sqlite else _events_in_postgresql():
        editor.execute(statement, params=None)


def remove(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "sqlite":
        for name in [*RULES, "call_made", "call_changed"]:
            editor.execute(f"DROP TRIGGER mcp_{name}", params=None)
        return
    tables = {name: rule[0] for name, rule in RULES.items()} | {"call_event": CALL}
    for name, table in tables.items():
        editor.execute(f"DROP TRIGGER mcp_{name} ON {table}", params=None)
        editor.execute(f"DROP FUNCTION mcp_{name}()", params=None)


def _in_sqlite(name: str, table: str, when: str, wrong: str, said: str) -> list[str]:
    condition = f" WHEN {wrong}" if wrong else ""
    return [
        f"CREATE TRIGGER mcp_{name} BEFORE {when} ON {table}{condition}"
        f" BEGIN SELECT RAISE(ABORT, '{said}'); END"
    ]


def _in_postgresql(name: str, table: str, when: str, wrong: str, said: str) -> list[str]:
    return [
        f"CREATE FUNCTION mcp_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {wrong or 'TRUE'} THEN"
        f" RAISE EXCEPTION '{said}' USING ERRCODE = 'check_violation'; END IF;"
        " RETURN NEW; END $$",
        f"CREATE TRIGGER mcp_{name} BEFORE {when} ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION mcp_{name}()",
    ]


def _events_in_sqlite() -> list[str]:
    event = EVENT.format(now="STRFTIME('%Y-%m-%d %H:%M:%f', 'now')")
    return [
        f"CREATE TRIGGER mcp_call_made AFTER INSERT ON mcp_toolcall BEGIN {event}; END",
        "CREATE TRIGGER mcp_call_changed AFTER UPDATE OF state ON mcp_toolcall"
        f" WHEN NEW.state <> OLD.state BEGIN {event}; END",
    ]


def _events_in_postgresql() -> list[str]:
    event = EVENT.format(now="clock_timestamp()")
    return [
        "CREATE FUNCTION mcp_call_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'INSERT' OR NEW.state <> OLD.state THEN {event}; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER mcp_call_event AFTER INSERT OR UPDATE ON mcp_toolcall"
        " FOR EACH ROW EXECUTE FUNCTION mcp_call_event()",
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_plans_are_billings"),
        ("mcp", "0002_triggers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(take_away, bring_back),
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "asked_by",
                    models.CharField(
                        choices=[("machine", "machine"), ("organization", "organization")],
                        max_length=12,
                    ),
                ),
                (
                    "fence",
                    models.BigIntegerField(
                        help_text="Of the hand-out that the machine asked under"
                    ),
                ),
                ("digest", models.CharField(help_text="Of the exact call", max_length=64)),
                (
                    "reason",
                    models.CharField(blank=True, help_text="Why a person is asked", max_length=500),
                ),
                (
                    "here_only",
                    models.BooleanField(
                        default=False,
                        help_text="Can be approved in the machine's terminal and nowhere else",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("approved", "approved"),
                            ("refused", "refused"),
                            ("expired", "expired"),
                            ("withdrawn", "withdrawn"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "decided_by",
                    models.CharField(blank=True, help_text="user:<id> or key:<id>", max_length=200),
                ),
                (
                    "decider",
                    models.CharField(blank=True, help_text="Their name then", max_length=150),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True,
                        choices=[("terminal", "terminal"), ("web", "web"), ("api", "api")],
                        max_length=8,
                    ),
                ),
                (
                    "place",
                    models.CharField(
                        blank=True, help_text="Address, or name of the machine", max_length=100
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AuditedCall",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "number",
                    models.PositiveBigIntegerField(help_text="In the organization's chain, from 1"),
                ),
                (
                    "previous",
                    models.CharField(blank=True, help_text="Hash of the row before", max_length=64),
                ),
                ("hash", models.CharField(max_length=64)),
                (
                    "call",
                    models.UUIDField(
                        help_text="Its id; the call itself is deleted some day", unique=True
                    ),
                ),
                ("told", models.TextField(help_text="What is known of it, as JSON")),
                (
                    "written_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "audited call",
            },
        ),
        migrations.CreateModel(
            name="OrganizationPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "otherwise",
                    models.CharField(
                        choices=[("allow", "allow"), ("ask", "ask"), ("deny", "deny")],
                        default="allow",
                        help_text="For what no rule fits. The machines' own policies are asked in any case.",
                        max_length=5,
                    ),
                ),
            ],
            options={
                "verbose_name": "tool policy",
                "verbose_name_plural": "tool policies",
            },
        ),
        migrations.CreateModel(
            name="PolicyRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "position",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="The lowest is tried first"
                    ),
                ),
                (
                    "server",
                    models.CharField(
                        default="*", help_text="Name of a server; * is any", max_length=64
                    ),
                ),
                (
                    "tool",
                    models.CharField(
                        default="*", help_text="Name of a tool; * is any", max_length=128
                    ),
                ),
                (
                    "argument",
                    models.CharField(
                        blank=True,
                        help_text="Name of an argument, for example path or command",
                        max_length=100,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("path", "a path below"),
                            ("command", "a command"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "values",
                    models.TextField(
                        blank=True, help_text="Paths, or how commands begin; one on each line"
                    ),
                ),
                (
                    "decision",
                    models.CharField(
                        choices=[("allow", "allow"), ("ask", "ask"), ("deny", "deny")], max_length=5
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True, help_text="Shown to whoever is asked", max_length=200
                    ),
                ),
            ],
            options={
                "verbose_name": "rule",
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="PolicyVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                (
                    "otherwise",
                    models.CharField(
                        choices=[("allow", "allow"), ("ask", "ask"), ("deny", "deny")], max_length=5
                    ),
                ),
                ("rules", models.JSONField(default=list)),
                (
                    "saved_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name": "version of a tool policy",
                "verbose_name_plural": "versions of tool policies",
            },
        ),
        migrations.RemoveConstraint(
            model_name="toolcall",
            name="a_known_state_of_a_call",
        ),
        migrations.AddField(
            model_name="toolcall",
            name="approval",
            field=models.CharField(
                blank=True,
                help_text="Digest that a person approved, until it begins",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="asked_by",
            field=models.CharField(
                blank=True,
                choices=[("machine", "machine"), ("organization", "organization")],
                help_text="Who wanted a person's approval, at last",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="audited",
            field=models.BooleanField(default=False, help_text="Has its row in the audit"),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="decision",
            field=models.CharField(
                blank=True,
                choices=[("allow", "allow"), ("ask", "ask"), ("deny", "deny")],
                help_text="What the organization's policy said to it",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="definition",
            field=models.CharField(
                blank=True,
                help_text="Digest of the tool's definition when it was asked for",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="lasts",
            field=models.DurationField(
                default=datetime.timedelta(seconds=30), help_text="From the queue to its deadline"
            ),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="policy_version",
            field=models.PositiveIntegerField(default=0, help_text="Of the policy that said so"),
        ),
        migrations.AlterField(
            model_name="toolcall",
            name="deadline",
            field=models.DateTimeField(help_text="While it waits for a person: of the approval"),
        ),
        migrations.AlterField(
            model_name="toolcall",
            name="state",
            field=models.CharField(
                choices=[
                    ("approval", "approval"),
                    ("cancelled", "cancelled"),
                    ("expired", "expired"),
                    ("failed", "failed"),
                    ("leased", "leased"),
                    ("lost", "lost"),
                    ("orphaned", "orphaned"),
                    ("queued", "queued"),
                    ("running", "running"),
                    ("succeeded", "succeeded"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="toolcall",
            index=models.Index(
                condition=models.Q(("audited", False), ("finished_at__isnull", False)),
                fields=["organization", "finished_at"],
                name="calls_unaudited",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolcall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "approval",
                            "cancelled",
                            "expired",
                            "failed",
                            "leased",
                            "lost",
                            "orphaned",
                            "queued",
                            "running",
                            "succeeded",
                        ],
                    )
                ),
                name="a_known_state_of_a_call",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolcall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "approval"), _negated=True),
                    models.Q(("asked_by", ""), _negated=True),
                    _connector="OR",
                ),
                name="somebody_asked_for_the_approval",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolcall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["running", "approval"]), _negated=True),
                    ("approval", ""),
                    _connector="OR",
                ),
                name="an_approval_is_spent_at_the_beginning",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolcall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("audited", False), ("finished_at__isnull", False), _connector="OR"
                ),
                name="audited_when_it_has_ended",
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="call",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approvals",
                to="mcp.toolcall",
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="connector",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approvals",
                to="mcp.connector",
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approvals",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="user",
            field=models.ForeignKey(
                help_text="Whose call it is",
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approvals",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="auditedcall",
            name="organization",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="audited_calls",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="organizationpolicy",
            name="organization",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tool_policy",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="policyrule",
            name="policy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="rules",
                to="mcp.organizationpolicy",
            ),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="policy_versions",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="saved_by",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="approval",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["organization", "user", "created_at"],
                name="approvals_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="approval",
            index=models.Index(fields=["decided_at"], name="approvals_decided"),
        ),
        migrations.AddIndex(
            model_name="approval",
            index=models.Index(fields=["organization", "-created_at"], name="approvals_of_org"),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "pending")),
                fields=("call",),
                name="one_open_question_per_call",
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("state", "pending")),
                    models.Q(
                        models.Q(("state", "pending"), _negated=True), ("decided_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="an_answer_has_its_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["approved", "refused"]), _negated=True),
                    models.Q(
                        models.Q(("decided_by", ""), _negated=True),
                        models.Q(("source", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_decision_has_its_decider",
            ),
        ),
        migrations.AddConstraint(
            model_name="auditedcall",
            constraint=models.UniqueConstraint(
                fields=("organization", "number"), name="one_audited_call_a_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="auditedcall",
            constraint=models.CheckConstraint(
                condition=models.Q(("number__gte", 1)), name="audit_counts_from_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="policyversion",
            constraint=models.UniqueConstraint(
                fields=("organization", "version"), name="one_policy_a_version"
            ),
        ),
        migrations.AddConstraint(
            model_name="policyversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("version__gte", 1)), name="policies_count_from_one"
            ),
        ),
        migrations.RunPython(make, remove),
    ]
