"""PostgreSQL dies and comes back, several times: nothing that was answered is lost."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests import environment
from tests import gateway as gateways
from tests.gateway import eventually
from tests.real import postgres as postgreses
from tests.real.postgres import Postgres

pytestmark = pytest.mark.real

CRASHES = 4
BACK_S = 60  # the target is 10 s; what it took is printed
QUESTION = {"role": "user", "content": "Hello"}
BODY = {"model": "claude-opus-5-5", "max_tokens": 20, "messages": [QUESTION]}


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server that nobody else needs."""
    with postgreses.running() as server:
        yield server


def key_of(url: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "setup", "--upstream", "demo"],
        cwd=environment.ROOT,
        env=environment.child(OPSCENTER_DATABASE_URL=url),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"sk-uc-\S+", done.stdout)
    assert found is not None, done.stdout
    return found[0]


@contextmanager
def asking(client: httpx.Client, answers: list[httpx.Response]) -> Iterator[None]:
    """Ask for ever, meanwhile."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(client.post("/v1/messages", json=BODY))
            stop.wait(0.02)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        stop.set()
        for one in threads:
            one.join(90)


def test_nothing_that_was_answered_is_lost(own: Postgres, tmp_path: Path) -> None:
    key, answers, took = key_of(own.url), list[httpx.Response](), list[float]()
    log, headers = tmp_path / "log", {"authorization": f"Bearer {key}"}
    more = {"OPSCENTER_DATABASE_URL": own.url, "OPSCENTER_MEMORY_TTL_S": "4"}
    with (
        gateways.running(log, **more) as (url, _),
        httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client,
        asking(client, answers),
    ):
        for _ in range(CRASHES):
            eventually(lambda: answers and answers[-1].status_code == 200, within_s=BACK_S)
            own.crash()
            _hear(answers, 529)
            own.start()
            began = time.monotonic()
            _hear(answers, 200)
            took.append(time.monotonic() - began)
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        kept = eventually(lambda: _settled(own, answers), within_s=BACK_S)
    refused = [one for one in answers if one.status_code != 200]
    assert {one.status_code for one in refused} == {529}
    assert all("retry-after" in one.headers for one in refused)
    told = f"{len(answers)} requests, {len(refused)} refused, {kept} in the ledger; back after"
    print(f"\n{told} {', '.join(f'{one:.1f}' for one in took)} s")  # noqa: T201


def _hear(answers: list[httpx.Response], status: int) -> None:
    """Wait for an answer of this kind to a request from now on."""
    seen = len(answers)
    eventually(lambda: any(one.status_code == status for one in answers[seen:]), within_s=BACK_S)


def _settled(own: Postgres, answers: list[httpx.Response]) -> int:
    """How many rows there are that ended well, once each answer has one and none is open."""
    ids = {one.headers["request-id"] for one in list(answers) if one.status_code == 200}
    with psycopg.connect(own.url) as connection:
        rows = connection.execute("SELECT id, state FROM billing_usagerecord").fetchall()
    well = {f"req_{row.hex}" for row, state in rows if state == "completed"}
    return len(well) if ids and ids <= well else 0
