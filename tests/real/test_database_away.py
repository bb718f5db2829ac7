"""A database that takes nobody, says nothing or is gone: refusals at once, and nothing is lost.

Requests are refused soon and say when to come back, streams under way end well, nothing hangs, the
log stays readable, and all is well after it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg
import pytest

from tests import answers
from tests.real import site as sites
from tests.real.site import AWAY, BACK_S, BODY, HUNG_S, Site
from tests.turns import text_turn

pytestmark = pytest.mark.real

CONNECTIONS = 30
STREAMS = 6
EVENTS = text_turn("said while the database was away").events()
BEFORE = 4  # events of a stream that come before the database goes


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sites.running(tmp_path_factory.mktemp("site"), connections=CONNECTIONS) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@contextmanager
def full(site: Site) -> Iterator[None]:
    """Every connection is somebody else's."""
    url = site.database.url
    held = [psycopg.connect(url, autocommit=True)]
    deadline = time.monotonic() + BACK_S
    try:
        while len(held) < CONNECTIONS:
            assert time.monotonic() < deadline, "the gateway keeps its connections"
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            others += " WHERE backend_type = 'client backend' AND pid <> ALL(%s)"
            held[0].execute(others, [[one.info.backend_pid for one in held]])
            with suppress(psycopg.OperationalError):
                while True:
                    held.append(psycopg.connect(url, autocommit=True))
        yield
    finally:
        for one in held:
            one.close()


@contextmanager
def silent(site: Site) -> Iterator[None]:
    """It takes connections and says nothing, as a pool does that has none left."""
    site.line.partition()
    try:
        yield
    finally:
        site.line.heal()


@contextmanager
def crashed(site: Site) -> Iterator[None]:
    """It is gone as by a power cut."""
    site.database.crash()
    try:
        yield
    finally:
        site.database.start()


HOW = {"full": full, "silent": silent, "crashed": crashed}


@pytest.mark.parametrize("how", HOW)
def test_who_asks_meanwhile_is_refused_soon(site: Site, how: str) -> None:
    site.wait_until(200)
    with HOW[how](site):
        site.wait_until(AWAY)
        refused, took = site.ask_at_once()
        alive = httpx.get(site.url("/healthz"), trust_env=False)
        health = httpx.get(site.url("/v1/health"), trust_env=False, timeout=HUNG_S).json()
    assert {one.status_code for one in refused} == {AWAY}
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)
    assert alive.status_code == 200  # nobody is helped by killing the process
    assert health["status"] == "degraded" and health["database"] in {"unreachable", "slow"}

    back = site.wait_until(200)
    after, _ = site.ask_at_once()
    assert {one.status_code for one in after} == {200}
    site.wait_until_settled()
    told = f"{len(refused)} refused within {took:.1f} s each; back after {back:.1f} s"
    print(f"\n{how}: {told}")  # noqa: T201


@pytest.mark.parametrize("how", HOW)
def test_streams_under_way_end_well_and_settle_when_it_is_back(site: Site, how: str) -> None:
    site.wait_until(200)
    gate = answers.Gate()
    streams = [_Stream(site, gate) for _ in range(STREAMS)]
    with HOW[how](site):
        site.wait_until(AWAY)
        gate.open()
        said = [one.end() for one in streams]
    assert [one.count("event: message_stop") for one in said] == [1] * STREAMS
    assert not any("event: error" in one for one in said)
    site.wait_until(200)
    site.wait_until_settled()


class _Stream:
    """One that has begun, and goes on once the gate is open."""

    def __init__(self, site: Site, gate: answers.Gate) -> None:
        self._site, self._text = site, ""
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read)
        site.upstream.script(answers.stream([*EVENTS[:BEFORE], gate, *EVENTS[BEFORE:]]))
        self._thread.start()
        assert self._begun.wait(BACK_S)

    def _read(self) -> None:
        with self._site.client.stream("POST", "/v1/messages", json=BODY | {"stream": True}) as it:
            self._site.heard(it)
            for piece in it.iter_text():
                self._text += piece
                self._begun.set()

    def end(self) -> str:
        """All that it said."""
        self._thread.join(HUNG_S)
        assert not self._thread.is_alive()
        return self._text
