"""`python -m bench.soak`: many minutes of everything that clients do, and whether memory grows.

Two workers on PostgreSQL and Redis, two machines with real connectors.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg

from bench import __main__ as bench
from bench import servers
from bench.soak_load import WAYS, Load
from bench.soak_samples import Trend, Watch
from bench.stores import Stores
from bench.stores import running as stores_running
from tests.real import install, machine, peers
from tests.real.machine import Machine, Owner

WORKERS = 2
KEPT = servers.ROOT / "var" / "bench" / "soak.json"  # every sample
WARM_SHARE = 0.25  # of the time: pools, caches and the allocator's arenas fill
QUIET_S = 30.0  # in which the last rows close
BOOKS = "SELECT state, count(*) FROM billing_usagerecord GROUP BY state"
CALLS = "SELECT state, count(*) FROM mcp_toolcall GROUP BY state"


async def soak(folder: Path, stores: Stores, minutes: float, workers: int) -> str:
    """The report of a whole run."""
    async with (
        servers.upstream(folder) as upstream,
        servers.ours(upstream.url, folder, stores=stores, workers=workers) as server,
    ):
        with ExitStack() as machines:
            await asyncio.to_thread(_connect, machines, folder, server)
            load = Load(port=server.port, key=server.key)
            watch = Watch(root=server.pid)
            rate_min = await _play(
                load, watch, warm_s=60 * minutes * WARM_SHARE, all_s=60 * minutes
            )
            watch.keep(KEPT)
            found = watch.trends(after_s=60 * minutes * WARM_SHARE)
            return "\n\n".join([_table(found, rate_min), _outcomes(load), await _books(stores)])


async def _play(load: Load, watch: Watch, *, warm_s: float, all_s: float) -> float:
    """Load and watch for so long; the requests a minute after the warm-up."""
    watching = asyncio.create_task(watch.run())
    lanes = [asyncio.ensure_future(lane) for lane in load.lanes()]
    await asyncio.sleep(warm_s)
    before = load.requests
    await asyncio.sleep(all_s - warm_s)
    rate_min = (load.requests - before) / (all_s - warm_s) * 60
    load.over.set()
    await asyncio.gather(*lanes)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching  # or hear why it has ended before
    return rate_min


def _connect(machines: ExitStack, folder: Path, server: servers.Server) -> None:
    """A machine each way, of the one user there is."""
    owner = Owner(key=server.key, user_id=0)
    for way in WAYS:
        fronted = {way: machine.effects_server(folder / f"notes-{way}")}
        home = folder / f"home-{way}"
        one = Machine(home, fronted, url=server.url, owner=owner, transport=way, name=way)
        machines.enter_context(one).wait_until_ready()


async def _books(stores: Stores) -> str:
    """What the tables say, once no request is open any more."""
    with psycopg.connect(stores.url, autocommit=True) as connection:
        for _ in range(int(QUIET_S)):
            rows: dict[str, int] = dict(connection.execute(BOOKS).fetchall())
            if not rows.get("admitted"):
                break
            await asyncio.sleep(1)
        calls: dict[str, int] = dict(connection.execute(CALLS).fetchall())
    return (
        f"Requests in the ledger: {_counted(rows)}; open: {rows.get('admitted', 0)}."
        f" Tool calls: {_counted(calls)}."
    )


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(rows.items()))


def _table(found: Mapping[str, Trend], rate_min: float) -> str:
    lines = [
        "| Process | MiB after the warm-up | MiB at the end | slope, KiB/min"
        " | KiB per 1,000 requests of all | threads | open files | % of a core |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {one.first_mib:.1f} | {one.last_mib:.1f}"
            f" | {one.slope_kib_min:.1f} ± {one.error_kib_min:.1f}"
            f" | {one.slope_kib_min / rate_min * 1000:.2f}"
            f" | {one.threads[0]} → {one.threads[1]} | {one.files[0]} → {one.files[1]}"
            f" | {one.cpu_share * 100:.0f} |"
        )
    return "\n".join([f"{rate_min / 60:,.0f} requests a second.\n", *lines])


def _outcomes(load: Load) -> str:
    said = [f"{count:,} {kind}: {how}" for (kind, how), count in sorted(load.outcomes.items())]
    return f"Outcomes: {'; '.join(said)}."


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=WORKERS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = options(argv)
    bench.say(install.ensure(peers.named(machine.CONNECTOR)))
    with (
        tempfile.TemporaryDirectory(prefix="opscenter-soak-") as temporary,
        stores_running() as stores,
    ):
        said = asyncio.run(soak(Path(temporary), stores, given.minutes, given.workers))
    print(f"{bench.machine(1).removesuffix(' medians of 1 rounds.')} {given.minutes:g} minutes.\n")
    print(said)


if __name__ == "__main__":
    main(sys.argv[1:])
