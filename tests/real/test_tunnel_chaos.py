"""Chaos in the tunnel: whoever dies, nothing runs twice and no call stays without an end."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from opscenter import env
from tests import gateway
from tests.real import machine as machines
from tests.real import redis, road, tunnel
from tests.real import tunnel_chaos_books as books
from tests.real.chaos_processes import Fleet, Program
from tests.real.conftest import need
from tests.real.machine import Machine
from tests.real.postgres import Postgres
from tests.real.tunnel_chaos_books import Books
from tests.real.tunnel_chaos_callers import Callers, Seen
from tests.real.tunnel_chaos_harm import TRANSPORTS, Harm

pytestmark = pytest.mark.real

SEEDS = [int(seed) for seed in env.words("OPSCENTER_CHAOS_SEEDS", ["1"])]
# Warm: who was killed is back as soon as its port is, and what callers wait for is the tunnel.
# Cold: as on a real machine, which imports for a second or two. For `make chaos`.
STARTS = ["warm", "cold"] if env.words("OPSCENTER_CHAOS_SEEDS", []) else ["warm"]
STORM_S = env.seconds("OPSCENTER_CHAOS_S", 120)
GATEWAYS = 2
MACHINES = 3
LEASE_S = 1  # short, so that a storm of two minutes holds many that end
QUIET_S = 60.0  # the deadline of the last calls, and the grace after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """All that takes part, running."""

    fleet: Fleet
    machines: list[Machine]
    callers: Callers
    harm: Harm
    books: Books
    notes: Path


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def arena(seed: int, start: str, postgres: Postgres, tmp_path: Path) -> Iterator[Arena]:
    need(machines.CONNECTOR, "redis-server")
    is_warm = start == "warm"
    effects = machines.light_effects_server if is_warm else machines.effects_server
    with ExitStack() as running:
        database = running.enter_context(tunnel.database(postgres, f"tunnel_chaos_{seed}_{start}"))
        settings = {
            "DJANGO_SETTINGS_MODULE": "opscenter.settings",
            "OPSCENTER_DATABASE_URL": database,
            "OPSCENTER_REDIS_URL": running.enter_context(redis.running()).url,
            "OPSCENTER_VAR_DIR": str(tmp_path),
            "OPSCENTER_MCP_LEASE_S": str(LEASE_S),
        }
        owners = tunnel.seeded(settings, MACHINES)
        fleet = Fleet(GATEWAYS, settings, tmp_path, spare=False, warm=is_warm)
        running.enter_context(fleet)
        log = tmp_path / "reaper"
        reaper = Program("manage.py", "reapcalls", settings=settings, log=log, warm=is_warm)
        running.enter_context(reaper)
        way = running.enter_context(road.opened([worker.url for worker in fleet.workers]))
        notes = tmp_path / "notes"
        laptops = [
            Machine(
                tmp_path / f"machine-{number}",
                {f"effects-{number}": effects(notes)},
                url=way.url,
                owner=owner,
                transport=TRANSPORTS[number % 2],
                is_warm=is_warm,
            )
            for number, owner in enumerate(owners)
        ]
        for laptop in laptops:
            running.enter_context(laptop)
        for laptop in laptops:
            laptop.wait_until_ready()
        servers = [name for laptop in laptops for name in laptop.servers]
        yield Arena(
            fleet=fleet,
            machines=laptops,
            callers=Callers(seed, way.url, list(zip(servers, owners, strict=True))),
            harm=Harm(seed, fleet, laptops, reaper, LEASE_S),
            books=running.enter_context(closing(Books(database))),
            notes=notes,
        )


async def storm(arena: Arena) -> None:
    """Ask while everybody is harmed; return when everybody has been answered."""
    stop = asyncio.Event()
    asking = asyncio.create_task(arena.callers.ask(stop))
    try:
        await asyncio.to_thread(arena.harm.go_on, STORM_S)
    finally:
        stop.set()
    await asking


def test_it_loses_nothing_and_runs_nothing_twice_whoever_dies(
    seed: int, start: str, arena: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    asyncio.run(storm(arena))
    arena.books.wait_until_all_ended(QUIET_S)
    for laptop in arena.machines:  # results that nobody acknowledged yet
        gateway.eventually(lambda laptop=laptop: not laptop.unacknowledged(), QUIET_S)  # type: ignore[misc]  # a default binds the loop's name

    rows, seen = arena.books.rows(), arena.callers.seen
    effects = books.effects_in(arena.notes)
    ended = [*arena.harm.ended, *(line for laptop in arena.machines for line in laptop.ended())]
    said = f"{start}, {summary(seed, arena, rows, effects, len(ended))}"
    with capsys.disabled():
        sys.stdout.write(f"\n{said}, {time.monotonic() - began:.0f} s\n")

    books.check_effects(rows, effects)
    books.check_results(rows, ended)
    books.check_callers(rows, seen)
    for program in [worker.program for worker in arena.fleet.workers]:
        assert "Traceback" not in program.said()
    for laptop in arena.machines:
        assert "Traceback" not in laptop.said()


def summary(
    seed: int,
    arena: Arena,
    rows: dict[str, books.Row],
    effects: Counter[str],
    results: int,
) -> str:
    """The run in a line."""
    states = Counter(f"{row['state']} {row['outcome']}".strip() for row in rows.values())
    seen = arena.callers.seen
    calm = [one for one in seen if is_calm(one, arena.harm.at)]
    return (
        f"tunnel chaos, seed {seed}: {len(seen)} calls ({listed(states)}); "
        f"{listed(arena.harm.done)}; {effects.total()} effects, {results} results in journals; "
        f"waited {waits(seen)}, the {len(calm)} calls whose time held no harm {waits(calm)}"
    )


def is_calm(one: Seen, harms: list[float]) -> bool:
    """Nothing was done to anybody since a little before it began."""
    return one.tries == 1 and not any(one.began_at - 3 <= at <= one.ended_at for at in harms)


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def waits(seen: list[Seen]) -> str:
    found = sorted(one.waited_s * 1000 for one in seen) or [0.0]
    p50, p99 = books.percentile(found, 0.5), books.percentile(found, 0.99)
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {found[-1]:.0f} ms"
