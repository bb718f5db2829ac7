"""A PostgreSQL and a Redis for the gateway under test, and what they use of the processor."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from tests.real import postgres, redis
from tests.real.postgres import Postgres
from tests.real.redis import Redis

PEERS = ("postgresql", "redis-server")


@dataclass(slots=True, kw_only=True)
class Stores:
    """Both, running; a database for each gateway that is started on them."""

    database: Postgres
    bell: Redis
    _number: int = 0

    @property
    def pids(self) -> tuple[int, int]:
        """Of PostgreSQL's first process, and of Redis."""
        return self.database.pid, self.bell.process.pid

    @property
    def url(self) -> str:
        """The database that was made last."""
        where, _, _ = self.database.url.rpartition("/")
        return f"{where}/bench{self._number}"

    def settings(self) -> Mapping[str, str]:
        """What a gateway must be told; its database is new and empty."""
        self._number += 1
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE bench{self._number}")
        return {"OPSCENTER_DATABASE_URL": self.url, "OPSCENTER_REDIS_URL": self.bell.url}


@contextmanager
def running() -> Iterator[Stores]:
    """As in production: what PostgreSQL has committed is on the disk."""
    with postgres.running(durable=True) as database, redis.running() as bell:
        yield Stores(database=database, bell=bell)
