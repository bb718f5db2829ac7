"""Chaos: workers, clients, the exporter and Lago fail at random, and the books balance."""

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from opscenter import env
from tests import lago
from tests.real import chaos_books as books
from tests.real import chaos_clients as clients
from tests.real import chaos_processes as processes
from tests.real.chaos_books import Books
from tests.real.chaos_callers import Caller
from tests.real.chaos_clients import Outcome
from tests.real.chaos_exporter import Exporter
from tests.real.chaos_processes import Fleet, LagoProcess
from tests.real.chaos_upstream import ScriptedAnswers, Served
from tests.real.postgres import Postgres
from tests.upstream import Upstream

pytestmark = pytest.mark.real

SEEDS = [int(seed) for seed in env.words("OPSCENTER_CHAOS_SEEDS", ["1"])]
REQUESTS = 2000
WORKERS = 4
KILLS = 14  # of workers, one in each wave of requests
WAVE_S = 4.2
LEAST_EXPORTER_KILLS = 3
QUIET_S = 90.0  # dead workers' rows take 40 s, the lease of a dead exporter 60 s


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def database(postgres: Postgres, seed: int) -> Iterator[str]:
    """A database of our own on the server of the run."""
    name = f"chaos_{seed}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.url.rpartition("/")[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def lago_process(seed: int, tmp_path: Path) -> Iterator[LagoProcess]:
    with LagoProcess(seed, tmp_path) as running:
        yield running
        assert running.state()["faults"] == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """All that takes part, running."""

    seed: int
    settings: dict[str, str]
    callers: list[Caller]
    answers: ScriptedAnswers
    fleet: Fleet
    lago: LagoProcess
    exporter: Exporter
    books: Books


@pytest.fixture
def arena(seed: int, database: str, lago_process: LagoProcess, tmp_path: Path) -> Iterator[Arena]:
    settings = {
        "DJANGO_SETTINGS_MODULE": "opscenter.settings",
        "OPSCENTER_DATABASE_URL": database,
        "OPSCENTER_VAR_DIR": str(tmp_path),
        "LAGO_API_URL": lago_process.url,
        "LAGO_API_KEY": lago.KEY,
    }
    exporter = Exporter(seed, lago_process, database, settings, tmp_path)
    with Upstream() as upstream, ExitStack() as running:
        made = run("-m", "tests.real.chaos_seed", upstream.url, settings=settings)
        running.enter_context(exporter.program)
        fleet = running.enter_context(Fleet(WORKERS, settings, tmp_path))
        yield Arena(
            seed=seed,
            settings=settings,
            callers=msgspec.json.decode(made, type=list[Caller]),
            answers=ScriptedAnswers(seed, upstream),
            fleet=fleet,
            lago=lago_process,
            exporter=exporter,
            books=running.enter_context(closing(Books(database))),
        )


def run(*arguments: str, settings: dict[str, str]) -> str:
    """What a command of ours says, which must succeed."""
    done = processes.command(*arguments, settings=settings)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


async def storm(arena: Arena) -> Counter[Outcome]:
    """Send everything while everybody is killed; what the clients saw."""
    chance = random.Random(arena.seed)
    stop = threading.Event()
    suffering = asyncio.create_task(asyncio.to_thread(arena.exporter.suffer, stop))
    try:
        async with clients.asking(arena.fleet.address) as everybody:
            for wave in clients.waves(arena.seed, arena.callers, REQUESTS, KILLS, WAVE_S):
                sending = asyncio.create_task(everybody.send(wave))
                await asyncio.sleep(chance.uniform(0, WAVE_S))
                await asyncio.to_thread(arena.fleet.kill_one, chance)
                await sending
            outcomes = await everybody.outcomes()
    finally:
        stop.set()
    await suffering
    await asyncio.to_thread(arena.fleet.wait_until_all_are_up)
    return outcomes


def test_its_books_balance_whatever_dies_meanwhile(
    arena: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    outcomes = asyncio.run(storm(arena))
    arena.lago.behave()  # well
    parked = arena.books.retry_parked()
    arena.books.wait_for_quiet(WORKERS, QUIET_S)

    rows, served = arena.books.rows(), arena.answers.served()
    events = arena.lago.events()
    said = summary(arena, outcomes, rows, served) + f", {parked} retried, {len(events)} events"
    with capsys.disabled():
        sys.stdout.write(f"\n{said}, {time.monotonic() - began:.0f} s\n")

    books.check_rows(rows, served)
    books.check_allowances(rows, arena.books.allowances(), arena.callers)
    assert arena.books.rollups() == books.sums(rows)
    at_lago = sorted(event["transaction_id"] for event in events)
    assert at_lago == sorted(row["id"].hex for row in rows if row["metered"])
    compared = run("manage.py", "reconcilelago", settings=arena.settings)
    assert compared.splitlines()[-1] == "balanced"

    assert not arena.books.alarms()["lost_closing"]
    assert arena.fleet.kills == KILLS
    assert arena.exporter.kills >= LEAST_EXPORTER_KILLS
    assert not outcomes[Outcome.FORGOTTEN]
    for worker in arena.fleet.workers:
        assert "Traceback" not in worker.program.said()


def summary(
    arena: Arena, outcomes: Counter[Outcome], rows: list[books.Row], served: dict[str, Served]
) -> str:
    """The run in a line."""
    states = Counter(row["state"] for row in rows)
    swept = sum(row["flags"] == "swept" for row in rows)
    seen = ", ".join(f"{outcomes[one]} {one}" for one in Outcome)
    return (
        f"chaos, seed {arena.seed}: {REQUESTS} sent ({seen}), {len(served)} served, "
        f"{len(rows)} rows: {states['completed']} completed, {states['failed']} failed, "
        f"{states['interrupted']} interrupted of which {swept} swept; {arena.fleet.kills} kills, "
        f"{arena.exporter.kills} of the exporter"
    )
