"""Redis dies under load and comes back: slower for a while, and nothing else.

Two processes on one database: messages at both, with a limit for the minute, which Redis counts,
and one for the day, which the rows do; tool calls from the one for a machine at the other, which
hear of each other through Redis.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.gateway import eventually, free_port
from tests.real import machine as machines
from tests.real import redis, tunnel
from tests.real.conftest import need
from tests.real.machine import Machine
from tests.real.postgres import Postgres
from tests.real.site import BODY
from tests.real.tunnel import Caller, Stack
from tests.upstream import Upstream

pytestmark = pytest.mark.real

PER_DAY = 120
BACK_S = 60
AWAY_CALLS = 5  # that are made while Redis is away, and after it
HEARD_S = 0.5  # a call whose end was rung for; one that must look for it takes a second
MOST_LINES = 12  # of a process about the outage: each of three bells and counters, twice


@pytest.fixture
def stack(postgres: Postgres, upstream: Upstream, tmp_path: Path) -> Iterator[tuple[Stack, int]]:
    """Two processes, and the port at which they look for Redis."""
    need(machines.CONNECTOR, "redis-server")
    port = free_port()
    with tunnel.database(postgres, "redis_away") as url:
        settings = {
            "OPSCENTER_DATABASE_URL": url,
            "OPSCENTER_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "OPSCENTER_DEFAULT_PLAN": "free",
        }
        with tunnel.running(
            tmp_path, count=2, owners=1, settings=settings, upstream=upstream.url
        ) as running:
            with psycopg.connect(url) as connection:
                connection.execute(
                    "UPDATE billing_plan SET requests_per_day = %s, requests_per_minute = 1000000,"
                    " tokens_per_day = NULL WHERE code = 'free'",
                    [PER_DAY],
                )
            yield running, port
            for worker in running.workers:
                said = worker.program.said()
                assert "Traceback" not in said
                assert len([one for one in said.splitlines() if "WARNING" in one]) <= MOST_LINES


@contextmanager
def meanwhile(*works: Callable[[], None]) -> Iterator[None]:
    """Do each again and again. Raises what one of them does."""
    stop, errors = threading.Event(), list[BaseException]()

    def go_on(work: Callable[[], None]) -> None:
        try:
            while not stop.wait(0.05):
                work()
        except BaseException as error:  # it is raised where somebody sees it
            errors.append(error)

    threads = [threading.Thread(target=go_on, args=[work]) for work in works]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        stop.set()
        for one in threads:
            one.join(BACK_S)
    assert errors == []


class Clients:
    """Who asks for messages at each of the processes, and what they were told."""

    def __init__(self, running: Stack) -> None:
        (owner,) = running.owners
        headers = {"authorization": f"Bearer {owner.key}"}
        self._clients = [
            httpx.Client(base_url=one.url, headers=headers, timeout=60, trust_env=False)
            for one in running.workers
        ]
        self.told: Counter[int] = Counter()
        self.served: list[str] = []

    @property
    def works(self) -> list[Callable[[], None]]:
        return [partial(self._ask, client) for client in self._clients]

    def _ask(self, client: httpx.Client) -> None:
        answer = client.post("/v1/messages", json=BODY)
        self.told[answer.status_code] += 1
        if answer.status_code == 200:
            self.served.append(answer.headers["request-id"])

    def close(self) -> None:
        for one in self._clients:
            one.close()


@pytest.fixture
def caller(stack: tuple[Stack, int], tmp_path: Path) -> Iterator[Caller]:
    """Who asks the second process for what the machine at the first one does."""
    running, _ = stack
    (owner,) = running.owners
    servers = {"effects": machines.effects_server(tmp_path / "notes")}
    with (
        closing(running.caller(owner)) as caller,
        Machine(
            tmp_path / "laptop", servers, url=running.road.url, owner=owner, transport="websocket"
        ) as laptop,
    ):
        laptop.wait_until_ready()
        tunnel.wait_until_offered(caller, laptop)
        yield caller


def test_nothing_is_lost_and_the_limits_hold(stack: tuple[Stack, int], caller: Caller) -> None:
    running, port = stack
    waits = list[float]()
    with (
        closing(Clients(running)) as clients,
        meanwhile(*clients.works, lambda: waits.append(_call(caller))),
    ):
        with redis.running(port) as server:
            eventually(lambda: waits and waits[-1] < HEARD_S, within_s=BACK_S)
            server.kill()
            _more(waits)
            away_s = max(waits[-AWAY_CALLS:])
        with redis.running(port):
            _more(waits)
            eventually(lambda: waits[-1] < HEARD_S, within_s=BACK_S)
            eventually(lambda: clients.told[429] > 0, within_s=BACK_S)
    with psycopg.connect(running.settings["OPSCENTER_DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT id, state FROM billing_usagerecord").fetchall()
    states = {f"req_{row.hex}": state for row, state in rows}
    assert states == dict.fromkeys(clients.served, "completed")
    assert clients.told[200] == PER_DAY and set(clients.told) == {200, 429}
    said = f"{len(waits)} calls, at most {away_s:.1f} s while it was away"
    print(f"\n{said}; {PER_DAY} of {sum(clients.told.values())} messages served")  # noqa: T201


def _call(caller: Caller) -> float:
    began = time.monotonic()
    ended = caller.run("effects", "look", {"word": "here"})
    assert ended["state"] == "succeeded"
    return time.monotonic() - began


def _more(waits: list[float]) -> None:
    seen = len(waits)
    eventually(lambda: len(waits) >= seen + AWAY_CALLS, within_s=BACK_S)
