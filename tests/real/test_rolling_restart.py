"""One process of two after the other is replaced at noon: nobody notices."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests import gateway as gateways
from tests.crew import Crew
from tests.gateway import eventually
from tests.real import chaos_processes as processes
from tests.real import machine, redis, tunnel
from tests.real.machine import Machine, Owner
from tests.real.postgres import Postgres

pytestmark = pytest.mark.real

BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}
READY_S = 60
REPLACED_S = 180
Said = list[tuple[float, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Two processes on one port, and where their rows are."""

    crew: Crew
    owner: Owner
    database: str

    def machine(self, folder: Path, name: str, transport: str) -> Machine:
        """One with a server of this name."""
        command = machine.effects_server(folder / "notes")
        return Machine(
            folder / name,
            {name: command},
            url=self.crew.url,
            owner=self.owner,
            transport=transport,
        )

    def client(self, **more: str) -> httpx.Client:
        """Who asks for messages."""
        headers = {"authorization": f"Bearer {self.owner.key}"} | more
        return httpx.Client(base_url=self.crew.url, headers=headers, timeout=60, trust_env=False)

    def completed(self) -> set[str]:
        """The ids of requests whose row says that they ended well."""
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("SELECT id, state FROM billing_usagerecord").fetchall()
        return {f"req_{row.hex}" for row, state in rows if state == "completed"}


@pytest.fixture
def installation(postgres: Postgres, tmp_path: Path) -> Iterator[Installation]:
    log = tmp_path / "log"
    with tunnel.database(postgres, "rolling") as url, redis.running() as bell:
        settings = {
            "OPSCENTER_DATABASE_URL": url,
            "OPSCENTER_REDIS_URL": f"redis://127.0.0.1:{bell.port}/0",
            "OPSCENTER_WORKERS": "2",
            "OPSCENTER_MEMORY_TTL_S": "4",
        }
        (owner,) = tunnel.seeded({"DJANGO_SETTINGS_MODULE": "opscenter.settings"} | settings, 1)
        made = processes.command("manage.py", "setup", "--upstream", "demo", settings=settings)
        assert made.returncode == 0, made.stdout + made.stderr
        with gateways.running(log, **settings) as (address, parent):
            crew = Crew(url=address, parent=parent)
            eventually(lambda: len(crew.members()) == 2, within_s=READY_S)
            yield Installation(crew=crew, owner=owner, database=url)
    assert "Traceback" not in log.read_text()


def test_no_request_fails_and_no_machine_stays_away(
    installation: Installation, tmp_path: Path
) -> None:
    messages, of_a, of_b = Said(), Said(), Said()
    with (
        installation.machine(tmp_path, "a", "websocket") as a,
        installation.machine(tmp_path, "b", "polling") as b,
        closing(tunnel.Caller(installation.crew.url, installation.owner)) as caller,
        installation.client() as first,
        installation.client() as second,
        installation.client(connection="close") as third,
    ):
        tunnel.wait_until_offered(caller, a)
        tunnel.wait_until_offered(caller, b)
        asked = [(_messages(client), messages) for client in (first, second, third)]
        asked += [(_calls(caller, "a"), of_a), (_calls(caller, "b"), of_b)]
        with _meanwhile(asked):
            _hear(of_a, of_b)
            began = time.monotonic()
            _replace(installation.crew)
            _hear(of_a, of_b)
    kept = eventually(lambda: _kept(installation, messages))
    for said in (of_a, of_b):
        assert Counter(word for _, word in said) == {"succeeded": len(said)}
    assert [word for _, word in messages if not word.startswith("req_")] == []
    gaps = " and ".join(f"{_longest(said, began):.1f} s" for said in (of_a, of_b))
    told = f"{kept} messages, {len(of_a) + len(of_b)} tool calls, none failed"
    print(f"\n{told}; longest without an end of a call, by machine: {gaps}")  # noqa: T201


def _hear(*all_said: Said) -> None:
    """Wait for some more of each."""
    wanted = [len(said) + 5 for said in all_said]
    eventually(
        lambda: all(len(said) > n for said, n in zip(all_said, wanted, strict=True)),
        within_s=READY_S,
    )


def _kept(installation: Installation, messages: Said) -> int:
    """How many answers there were, once each of them has its row."""
    served = {word for _, word in messages if word.startswith("req_")}
    return len(served) if served <= installation.completed() else 0


def _replace(crew: Crew) -> None:
    before = crew.members()
    crew.parent.send_signal(signal.SIGHUP)
    eventually(lambda: crew.both_new(before), within_s=REPLACED_S)


@contextmanager
def _meanwhile(asked: list[tuple[Callable[[], str], Said]]) -> Iterator[None]:
    """Do each for ever, and note when it was done with what."""
    stop = threading.Event()

    def go(ask: Callable[[], str], said: Said) -> None:
        while not stop.wait(0.05):
            try:
                word = ask()
            except (httpx.HTTPError, AssertionError) as error:
                word = repr(error)
            said.append((time.monotonic(), word))

    threads = [threading.Thread(target=go, args=one) for one in asked]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)


def _messages(client: httpx.Client) -> Callable[[], str]:
    """Every other one streamed; the id of what was served."""
    number = 0

    def ask() -> str:
        nonlocal number
        number += 1
        is_streamed = number % 2 == 0
        answer = client.post("/v1/messages", json=BODY | {"stream": is_streamed})
        is_whole = not is_streamed or answer.text.rstrip().endswith('"type":"message_stop"}')
        if answer.status_code != 200 or not is_whole:
            return f"{answer.status_code}: {answer.text[-300:]}"
        return str(answer.headers["request-id"])

    return ask


def _calls(caller: tunnel.Caller, name: str) -> Callable[[], str]:
    return lambda: str(caller.run(name, "look", {"word": "x"})["state"])


def _longest(said: Said, began: float) -> float:
    times = [at for at, _ in said if at > began]
    return max(later - at for at, later in pairwise(times))
