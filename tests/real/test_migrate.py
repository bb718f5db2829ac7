"""Migrations on PostgreSQL: one at a time, and none that hangs. And a backup, restored."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from opscenter.management.commands.migrate import LOCK
from tests import environment, former
from tests import gateway as gateways
from tests.real import peers
from tests.real.postgres import Postgres

pytestmark = pytest.mark.real

BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}
OF_ROWS = """
    SELECT count(*), sum(input_tokens + output_tokens), sum(cost_nano) FROM billing_usagerecord
"""
OF_SUMS = """
    SELECT sum(requests), sum(input_tokens + output_tokens), sum(cost_nano)
    FROM billing_usagerollup WHERE kind = 'month'
"""
MIGRATE_S = 120  # a few seconds; more on a busy machine


def made(postgres: Postgres, name: str) -> str:
    """An empty database; its address."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url.rpartition("/")[0] + f"/{name}"


def manage(url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=environment.ROOT,
        env=environment.child(OPSCENTER_DATABASE_URL=url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=MIGRATE_S)
    return process.returncode, output


def test_of_three_that_start_at_once_each_ends_well(postgres: Postgres) -> None:
    url = made(postgres, "at_once")
    ends = [said(one) for one in [manage(url, "migrate") for _ in range(3)]]
    assert [code for code, _ in ends] == [0, 0, 0], ends
    assert any("waiting for it" in output for _, output in ends)
    assert sum("Applying billing.0001" in output for _, output in ends) == 1


def test_who_waits_for_another_does_not_hold_up_its_index(postgres: Postgres) -> None:
    url = made(postgres, "beside")
    assert said(manage(url, "migrate"))[0] == 0
    with psycopg.connect(url, autocommit=True) as other:  # the process that is migrating
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        waiting = manage(url, "migrate")
        until_it_asks(other)
        other.execute("CREATE INDEX CONCURRENTLY t ON billing_usagerecord (served_model)")
    code, output = said(waiting)
    assert code == 0 and "waiting for it" in output


def until_it_asks(other: "psycopg.Connection[tuple[int]]") -> None:
    """Until a second process has asked for the lock of migrations."""
    ends_at = time.monotonic() + MIGRATE_S
    asks = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid != pg_backend_pid() AND query LIKE '%advisory_lock(%'"
    )
    while not sum(count for (count,) in other.execute(asks)):
        assert time.monotonic() < ends_at, "nobody asked"
        threading.Event().wait(0.1)


def test_it_gives_up_on_a_table_that_somebody_holds(postgres: Postgres) -> None:
    url = made(postgres, "held")
    assert said(manage(url, "migrate"))[0] == 0
    assert said(manage(url, "migrate", "billing", "0008"))[0] == 0
    with psycopg.connect(url) as holder:
        holder.execute("SELECT count(*) FROM billing_usagerecord")  # a long report
        begun = time.monotonic()
        code, output = said(manage(url, "migrate"))
        assert code != 0 and "lock timeout" in output
        assert time.monotonic() - begun < MIGRATE_S / 2
    assert said(manage(url, "migrate"))[0] == 0


def test_an_upgrade_keeps_plans_and_the_ledger(postgres: Postgres) -> None:
    url = made(postgres, "former_ledger")
    former.turns_plans_into_subscriptions_and_keeps_the_ledger(*former.postgres(url))


def test_an_upgrade_keeps_tool_calls(postgres: Postgres) -> None:
    url = made(postgres, "former_calls")
    former.keeps_tool_calls_and_what_guards_them(*former.postgres(url))


def test_a_key_opens_what_was_restored_from_a_backup(postgres: Postgres, tmp_path: Path) -> None:
    url, backup = made(postgres, "backed_up"), tmp_path / "backup"
    code, output = said(manage(url, "setup", "--upstream", "demo"))
    key = re.search(r"sk-uc-\S+", output)
    assert code == 0 and key, output
    _ask(url, key[0], tmp_path, times=5)
    programs = peers.programs_of(peers.named("postgresql"))
    dump: list[str | Path] = [
        programs / "pg_dump",
        "--format=custom",
        f"--file={backup}",
        f"--dbname={url}",
    ]
    subprocess.run(dump, check=True, timeout=MIGRATE_S)
    again = made(postgres, "restored")
    restore: list[str | Path] = [programs / "pg_restore", "--no-owner", f"--dbname={again}", backup]
    subprocess.run(restore, check=True, timeout=MIGRATE_S)
    assert _books(again) == _books(url)
    _ask(again, key[0], tmp_path, times=2)
    rows, tokens, _ = _books(again)
    assert rows == 7 and tokens > 0


def _ask(url: str, key: str, folder: Path, *, times: int) -> None:
    """So many messages on this database; the gateway writes all it owes before it ends."""
    headers = {"authorization": f"Bearer {key}"}
    with gateways.running(folder / "log", OPSCENTER_DATABASE_URL=url) as (here, _):
        for _ in range(times):
            answer = httpx.post(
                f"{here}/v1/messages", json=BODY, headers=headers, timeout=60, trust_env=False
            )
            assert answer.status_code == 200, answer.text


def _books(url: str) -> tuple[int, int, int]:
    """Requests, tokens and cost: the ledger's rows, which its sums must equal."""
    found = []
    with psycopg.connect(url) as connection:
        for question in (OF_ROWS, OF_SUMS):
            (row,) = connection.execute(question).fetchall()
            found.append(tuple(map(int, row)))
    assert found[0] == found[1]
    requests, tokens, cost = found[0]
    return requests, tokens, cost
