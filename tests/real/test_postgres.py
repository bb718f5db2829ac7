"""PostgreSQL: one that Django can use, and every test on it that reaches a table."""

import os
import subprocess
import sys

import psycopg
import pytest

from tests import environment
from tests.real import peers
from tests.real.postgres import Postgres

pytestmark = pytest.mark.real

SUITE_S = 2400  # a hang; two processors take six minutes
SUITE = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "not real", "-p", "no:cacheprovider"),
    "--tb=short",  # the cause of a failure fits into what the one below shows
    *("-p", "tests.only_tables"),  # the others have passed on SQLite, where they are the same
    *("-n", str(min(os.cpu_count() or 1, 8)), "--dist", "loadfile"),  # the real peers run beside it
]


def test_it_answers_in_utf8_at_the_pinned_version(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, connect_timeout=5) as connection:
        assert connection.info.server_version // 10000 == int(peers.named("postgresql").version)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_it_passes_every_test_that_reaches_a_table(postgres: Postgres) -> None:
    finished = subprocess.run(
        SUITE,
        cwd=environment.ROOT,
        env=environment.child(
            OPSCENTER_DATABASE_URL=postgres.url,
            OPSCENTER_TEST_VAR=str(environment.VAR / "on-postgres"),
        ),
        capture_output=True,
        text=True,
        timeout=SUITE_S,
    )
    assert finished.returncode == 0, finished.stdout[-8000:]
    assert " passed" in finished.stdout
