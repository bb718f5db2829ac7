"""The PostgreSQL of the tests is one that Django can use."""

import psycopg
import pytest

from tests.real import peers
from tests.real.postgres import Postgres

pytestmark = pytest.mark.real


def test_it_answers_in_utf8_at_the_pinned_version(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, connect_timeout=5) as connection:
        assert connection.info.server_version // 10000 == int(peers.named("postgresql").version)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
