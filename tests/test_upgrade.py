"""An installation of the former release keeps what it has when it is upgraded."""

import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from tests import environment

FORMER = (("accounts", "0001_initial"), ("billing", "0002_moves"), ("proxy", "0002_many_upstreams"))
MIGRATE_S = 120  # a few seconds; more on a busy machine


def migrate(database: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0", *arguments],
        cwd=environment.ROOT,
        env=environment.child(OPSCENTER_DATABASE_URL=f"sqlite:///{database}"),
        capture_output=True,
        text=True,
        timeout=MIGRATE_S,
    )
    assert done.returncode == 0, done.stderr


def test_it_turns_plans_into_subscriptions_and_keeps_the_ledger(tmp_path: Path) -> None:
    database = tmp_path / "former.sqlite3"
    for app, name in FORMER:
        migrate(database, app, name)
    plans = {"Acme": "enterprise", "Box": "Professional", "Cup": "gold", "Dot": "free"}
    ids = {name: uuid.uuid4().hex for name in plans}
    with closing(sqlite3.connect(database)) as former, former:
        for name, plan in plans.items():
            former.execute(
                "INSERT INTO accounts_organization (id, name, plan) VALUES (?, ?, ?)",
                (ids[name], name, plan),
            )
        former.execute(
            "INSERT INTO billing_usagerecord (id, state, organization_id, user_id, api_key_id,"
            " session_id, agent_id, parent_agent_id, requested_model, target_model, served_model,"
            " upstream, streamed, admitted_at, stop_reason, error_type, message_id,"
            " upstream_request_id, input_tokens, output_tokens, cache_read_tokens,"
            " cache_write_5m_tokens, cache_write_1h_tokens, server_tool_uses)"
            " VALUES (?, 'admitted', ?, 1, 'k', '', '', '', 'm', 'm', '', 'u', 1,"
            " '2026-11-01 00:00:00', '', '', '', '', 7, 9, 0, 0, 0, 0)",
            (uuid.uuid4().hex, ids["Acme"]),
        )
    migrate(database)
    with closing(sqlite3.connect(database)) as upgraded:
        found = dict(
            upgraded.execute(
                "SELECT organization.name, plan.code FROM billing_subscription AS subscription"
                " JOIN accounts_organization AS organization"
                " ON organization.id = subscription.organization_id"
                " JOIN billing_plan AS plan ON plan.id = subscription.plan_id"
            ).fetchall()
        )
        row = upgraded.execute(
            "SELECT state, input_tokens, output_tokens, cost_nano, estimated, holds, worker_id"
            " FROM billing_usagerecord"
        ).fetchall()
    # Nobody knows a plan called gold: its organization is on the default one.
    assert found == {"Acme": "enterprise", "Box": "pro", "Dot": "free"}
    assert row == [("admitted", 7, 9, 0, 0, None, None)]


def test_it_keeps_tool_calls_and_what_guards_them(tmp_path: Path) -> None:
    database = tmp_path / "former.sqlite3"
    migrate(database, "mcp", "0002_triggers")
    migrate(database, "auth")
    organization, connector = uuid.uuid4().hex, uuid.uuid4().hex
    ended, queued = uuid.uuid4().hex, uuid.uuid4().hex
    with closing(sqlite3.connect(database)) as former, former:
        former.execute(
            "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name,"
            " email, is_staff, is_active, date_joined)"
            " VALUES (1, '', 0, 'alice', '', '', '', 0, 1, '2026-11-01 00:00:00')"
        )
        former.execute(
            "INSERT INTO accounts_organization (id, name) VALUES (?, 'Acme')", (organization,)
        )
        former.execute(
            "INSERT INTO mcp_connector (id, organization_id, user_id, kind, instance, name, agent,"
            " platform, key_id, epoch, transport, max_in_flight)"
            " VALUES (?, ?, 1, 'tunnel', ?, 'laptop', '', '', '', 1, 'none', 4)",
            (connector, organization, uuid.uuid4().hex),
        )
        for id_, state, end in (
            (ended, "cancelled", "2026-11-01 00:00:00"),
            (queued, "queued", None),
        ):
            former.execute(
                "INSERT INTO mcp_toolcall (id, organization_id, user_id, connector_id, server,"
                " tool, method, params, has_effects, request_id, tool_use_id, state, fence,"
                " deliveries, starts, deadline, cancel_requested, outcome, digest, finished_at)"
                " VALUES (?, ?, 1, ?, 'files', 'read', 'tools/call', '{}', 1, ?, 't', ?, 0, 0, 0,"
                " '2026-11-01 00:00:00', 0, '', '', ?)",
                (id_, organization, connector, id_, state, end),
            )
    migrate(database)
    with closing(sqlite3.connect(database)) as upgraded:
        rows = upgraded.execute("SELECT state, asked_by, approval, audited FROM mcp_toolcall")
        assert sorted(rows.fetchall()) == [("cancelled", "", "", 0), ("queued", "", "", 0)]
        events = upgraded.execute("SELECT call_id, state FROM mcp_toolcallevent ORDER BY id")
        assert events.fetchall() == [(ended, "cancelled"), (queued, "queued")]
        change = "UPDATE mcp_toolcall SET tool = 'other' WHERE id = ?"
        with pytest.raises(sqlite3.IntegrityError, match="a final call stays as it is"):
            upgraded.execute(change, (ended,))
        upgraded.execute(change, (queued,))
        upgraded.execute("UPDATE mcp_toolcall SET audited = 1 WHERE id = ?", (ended,))
