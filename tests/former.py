"""An installation of the former release with data, on either database: what an upgrade keeps."""

import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import environment

FORMER = (("accounts", "0001_initial"), ("billing", "0002_moves"), ("proxy", "0002_many_upstreams"))
MIGRATE_S = 120  # a few seconds; more on a busy machine
Ask = Callable[..., list[tuple[Any, ...]]]
Opened = Callable[[], AbstractContextManager[Ask]]
REFUSED = (sqlite3.IntegrityError, psycopg.Error)


def sqlite(database: Path) -> tuple[str, Opened]:
    """A file's address, and how it is asked."""

    @contextmanager
    def opened() -> Iterator[Ask]:
        with closing(sqlite3.connect(database)) as connection, connection:
            yield lambda sql, *values: connection.execute(sql, values).fetchall()

    return f"sqlite:///{database}", opened


def postgres(url: str) -> tuple[str, Opened]:
    """The same of a PostgreSQL."""

    @contextmanager
    def opened() -> Iterator[Ask]:
        with psycopg.connect(url, autocommit=True) as connection:

            def ask(sql: str, *values: object) -> list[tuple[Any, ...]]:
                done = connection.execute(sql.replace("?", "%s").encode(), values)
                return done.fetchall() if done.description else []

            yield ask

    return url, opened


def migrate(url: str, *arguments: str) -> None:
    """To the newest, or as the arguments say."""
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0", *arguments],
        cwd=environment.ROOT,
        env=environment.child(OPSCENTER_DATABASE_URL=url),
        capture_output=True,
        text=True,
        timeout=MIGRATE_S,
    )
    assert done.returncode == 0, done.stderr


def turns_plans_into_subscriptions_and_keeps_the_ledger(url: str, opened: Opened) -> None:
    """From an empty database on."""
    for app, name in FORMER:
        migrate(url, app, name)
    plans = {"Acme": "enterprise", "Box": "Professional", "Cup": "gold", "Dot": "free"}
    ids = {name: uuid.uuid4() for name in plans}
    with opened() as ask:
        for name, plan in plans.items():
            ask(
                "INSERT INTO accounts_organization (id, name, plan) VALUES (?, ?, ?)",
                ids[name].hex,
                name,
                plan,
            )
        ask(
            "INSERT INTO billing_usagerecord (id, state, organization_id, user_id, api_key_id,"
            " session_id, agent_id, parent_agent_id, requested_model, target_model, served_model,"
            " upstream, streamed, admitted_at, stop_reason, error_type, message_id,"
            " upstream_request_id, input_tokens, output_tokens, cache_read_tokens,"
            " cache_write_5m_tokens, cache_write_1h_tokens, server_tool_uses)"
            " VALUES (?, 'admitted', ?, 1, 'k', '', '', '', 'm', 'm', '', 'u', TRUE,"
            " '2026-11-01 00:00:00', '', '', '', '', 7, 9, 0, 0, 0, 0)",
            uuid.uuid4().hex,
            ids["Acme"].hex,
        )
    migrate(url)
    with opened() as ask:
        found: dict[str, str] = dict(
            ask(
                "SELECT organization.name, plan.code FROM billing_subscription AS subscription"
                " JOIN accounts_organization AS organization"
                " ON organization.id = subscription.organization_id"
                " JOIN billing_plan AS plan ON plan.id = subscription.plan_id"
            )
        )
        row = ask(
            "SELECT state, input_tokens, output_tokens, cost_nano, estimated, holds, worker_id"
            " FROM billing_usagerecord"
        )
    # Nobody knows a plan called gold: its organization is on the default one.
    assert found == {"Acme": "enterprise", "Box": "pro", "Dot": "free"}
    assert row == [("admitted", 7, 9, 0, 0, None, None)]


def keeps_tool_calls_and_what_guards_them(url: str, opened: Opened) -> None:
    """From an empty database on."""
    migrate(url, "mcp", "0002_triggers")
    migrate(url, "auth")
    organization, connector = uuid.uuid4().hex, uuid.uuid4().hex
    ended, queued = uuid.uuid4().hex, uuid.uuid4().hex
    with opened() as ask:
        ask(
            "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name,"
            " email, is_staff, is_active, date_joined)"
            " VALUES (1, '', FALSE, 'alice', '', '', '', FALSE, TRUE, '2026-11-01 00:00:00')"
        )
        ask("INSERT INTO accounts_organization (id, name) VALUES (?, 'Acme')", organization)
        ask(
            "INSERT INTO mcp_connector (id, organization_id, user_id, kind, instance, name, agent,"
            " platform, key_id, epoch, transport, max_in_flight)"
            " VALUES (?, ?, 1, 'tunnel', ?, 'laptop', '', '', '', 1, 'none', 4)",
            connector,
            organization,
            uuid.uuid4().hex,
        )
        for id_, state, end in (
            (ended, "cancelled", "2026-11-01 00:00:00"),
            (queued, "queued", None),
        ):
            ask(
                "INSERT INTO mcp_toolcall (id, organization_id, user_id, connector_id, server,"
                " tool, method, params, has_effects, request_id, tool_use_id, state, fence,"
                " deliveries, starts, deadline, cancel_requested, outcome, digest, finished_at)"
                " VALUES (?, ?, 1, ?, 'files', 'read', 'tools/call', '{}', TRUE, ?, 't', ?, 0, 0,"
                " 0, '2026-11-01 00:00:00', FALSE, '', '', ?)",
                id_,
                organization,
                connector,
                id_,
                state,
                end,
            )
    migrate(url)
    with opened() as ask:
        rows = ask("SELECT state, asked_by, approval, audited FROM mcp_toolcall")
        assert sorted(rows) == [("cancelled", "", "", 0), ("queued", "", "", 0)]
        events = ask("SELECT call_id, state FROM mcp_toolcallevent ORDER BY id")
        told = [(uuid.UUID(str(call)).hex, state) for call, state in events]
        assert told == [(ended, "cancelled"), (queued, "queued")]
        change = "UPDATE mcp_toolcall SET tool = 'other' WHERE id = ?"
        with pytest.raises(REFUSED, match="a final call stays as it is"):
            ask(change, ended)
        ask(change, queued)
        ask("UPDATE mcp_toolcall SET audited = TRUE WHERE id = ?", ended)
