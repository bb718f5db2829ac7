"""One of two processes behind one port is killed at random, in the middle of streams with tools.

For `make chaos`: what a dead process leaves is settled after most of a minute.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from opscenter import env
from tests import gateway as gateways
from tests.crew import Crew
from tests.gateway import eventually, pause
from tests.real import machine as machines
from tests.real import redis, tunnel
from tests.real.conftest import need
from tests.real.machine import Machine, Owner
from tests.real.postgres import Postgres
from tests.tool_loop import results_in
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import Request, Upstream

SEEDS = env.words("OPSCENTER_CHAOS_SEEDS", [])
pytestmark = [pytest.mark.real, pytest.mark.skipif(not SEEDS, reason="for `make chaos`")]

STREAMS = 200
AT_ONCE = 20
KILLS = 4
WORKS_MS = 100
READY_S = 120
ASK_S = 180
SETTLED_S = 180  # a dead process is noticed after 40 s, a call's deadline and grace are a minute
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "stream": True,
    "mcp_servers": [{"type": "url", "url": "tunnel://laptop/effects", "name": "effects"}],
    "tools": [{"type": "mcp_toolset", "mcp_server_name": "effects"}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two processes on one port, the machine whose tools they call, and where their rows are."""

    crew: Crew
    owner: Owner
    database: str
    notes: Path

    def stream(self, word: str) -> str:
        """All that came of one answer, be it whole or cut off."""
        headers = {"authorization": f"Bearer {self.owner.key}", "connection": "close"}
        headers["anthropic-beta"] = "mcp-client-2025-11-20"
        body = BODY | {"messages": [{"role": "user", "content": word}]}
        text = ""
        with (
            suppress(httpx.HTTPError),  # killed
            httpx.Client(headers=headers, timeout=ASK_S, trust_env=False) as client,
            client.stream("POST", f"{self.crew.url}/v1/messages", json=body) as it,
        ):
            for piece in it.iter_text():
                text += piece
        return text

    def kill_one(self, chance: random.Random) -> float:
        """How long it takes after it until somebody answers."""
        os.kill(chance.choice(sorted(self.crew.members())), signal.SIGKILL)
        began = time.monotonic()
        eventually(self._is_served, within_s=READY_S)
        took = time.monotonic() - began
        eventually(lambda: len(self.crew.members()) == 2, within_s=READY_S)
        return took

    def _is_served(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.crew.ask() == 200
        return False


def says(request: Request) -> Turn:
    """Leave the word that was said, and tell that it is done."""
    if results_in(request):
        return text_turn("done")
    word = request.json["messages"][0]["content"]
    return tool_turn(("effects_leave", {"word": word, "ms": WORKS_MS}))


@pytest.fixture
def site(postgres: Postgres, upstream: Upstream, tmp_path: Path) -> Iterator[Site]:
    need(machines.CONNECTOR, "redis-server")
    upstream.answer_by(says)
    log, notes = tmp_path / "log", tmp_path / "notes"
    with tunnel.database(postgres, "killed_worker") as url, redis.running() as bell:
        settings = {
            "OPSCENTER_DATABASE_URL": url,
            "OPSCENTER_REDIS_URL": bell.url,
            "OPSCENTER_WORKERS": "2",
            "OPSCENTER_MEMORY_TTL_S": "4",
        }
        seeding = {"DJANGO_SETTINGS_MODULE": "opscenter.settings"} | settings
        (owner,) = tunnel.seeded(seeding, 1, upstream.url)
        with gateways.running(log, **settings) as (address, parent):
            crew = Crew(url=address, parent=parent)
            eventually(lambda: len(crew.members()) == 2, within_s=READY_S)
            servers = {"effects": machines.effects_server(notes)}
            with (
                Machine(
                    tmp_path / "laptop", servers, url=address, owner=owner, transport="websocket"
                ) as laptop,
                closing(tunnel.Caller(address, owner)) as caller,
            ):
                laptop.wait_until_ready()
                tunnel.wait_until_offered(caller, laptop)
                yield Site(crew=crew, owner=owner, database=url, notes=notes)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("seed", SEEDS or ["none"])
def test_nothing_runs_or_is_billed_twice_and_all_is_settled(site: Site, seed: str) -> None:
    chance = random.Random(int(seed))
    words = [f"word-{number}" for number in range(STREAMS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        streams = [pool.submit(site.stream, word) for word in words]
        served_after = []
        for _ in range(KILLS):
            pause(chance.uniform(0.5, 2))
            served_after.append(site.kill_one(chance))
        said = [one.result(ASK_S) for one in streams]
    whole = sum("event: message_stop" in one for one in said)
    eventually(lambda: _all_settled(site), within_s=SETTLED_S)

    left = Counter(site.notes.read_text().splitlines())
    assert set(left.values()) == {1}, "an effect happened twice"
    states, calls = _states(site), _calls(site)
    assert states["completed"] >= whole and states.total() <= 3 * STREAMS
    assert set(calls) <= {"succeeded", "failed", "cancelled", "expired", "lost"}
    assert calls["succeeded"] <= len(left) <= calls.total()
    took = ", ".join(f"{one:.1f}" for one in served_after)
    told = f"{whole} of {STREAMS} streams whole, {left.total()} effects; rows {dict(states)}"
    print(f"\n{told}; calls {dict(calls)}; another served after {took} s")  # noqa: T201


def _all_settled(site: Site) -> bool:
    return not _states(site)["admitted"] and not set(_calls(site)) & {
        "queued",
        "leased",
        "running",
        "orphaned",
    }


def _states(site: Site) -> Counter[str]:
    return _counted(site, "SELECT state FROM billing_usagerecord")


def _calls(site: Site) -> Counter[str]:
    return _counted(site, "SELECT state FROM mcp_toolcall")


def _counted(site: Site, query: str) -> Counter[str]:
    with psycopg.connect(site.database) as connection:
        return Counter(state for (state,) in connection.execute(query).fetchall())
