"""`python -m bench.tunnel`: how long a tool call takes there and back, and what a machine costs.

The round trip is the whole of it: an HTTP request, the queue, the real connector, a real MCP
server in Python, and back.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from bench import __main__ as bench
from bench import servers
from bench import tunnel_calls as calls
from bench import tunnel_crowd as crowd
from tests.real import install, machine, peers, postgres, redis, tunnel
from tests.real.machine import Machine
from tests.real.tunnel import Stack

CALLS, QUICK_CALLS = 400, 60
SETTLED = 300  # calls before those that count: a table that is hardly empty is no gateway's
MACHINES, QUICK_MACHINES = 1000, 64
DIRECT_S = 120.0
TRANSPORTS = {"websocket": "WebSocket", "polling": "polling"}
TARGET_MS = {"websocket": 10.0, "polling": 30.0}
SQLITE, POSTGRES = "SQLite, one process", "PostgreSQL and Redis, two processes"

Figures = Mapping[str, float]
ROWS = {
    "look.p50_ms": "one at a time, read-only tool: p50 ms",
    "look.p99_ms": "… p99 ms",
    "leave.p50_ms": "one at a time, tool with effects: p50 ms",
    "leave.p99_ms": "… p99 ms",
    "four.calls_s": "four at a time, read-only tool: calls/s",
    "four.p50_ms": "… p50 ms",
    "four.gateway_ms": "… CPU ms of the gateways per call",
    "four.connector_ms": "… CPU ms of the connector per call",
}


@contextmanager
def stacks(folder: Path) -> Iterator[dict[str, Stack]]:
    """Gateways on either database, for one machine each way and for many."""
    with ExitStack() as running:
        server = running.enter_context(postgres.running())
        bell = running.enter_context(redis.running())
        url = running.enter_context(tunnel.database(server, "bench"))
        of_sqlite, of_postgres = folder / "sqlite", folder / "postgres"
        of_sqlite.mkdir()
        of_postgres.mkdir()
        users = len(TRANSPORTS) + crowd.users(MACHINES)
        yield {
            SQLITE: running.enter_context(
                tunnel.running(
                    of_sqlite,
                    count=1,
                    owners=users,
                    settings={"OPSCENTER_DATABASE_URL": f"sqlite:///{of_sqlite / 'db.sqlite3'}"},
                )
            ),
            POSTGRES: running.enter_context(
                tunnel.running(
                    of_postgres,
                    count=2,
                    owners=users,
                    settings={"OPSCENTER_DATABASE_URL": url, "OPSCENTER_REDIS_URL": bell.url},
                )
            ),
        }


def direct(folder: Path, count: int) -> Figures:
    """The figures of the MCP server alone, asked by the SDK."""
    script = Path(__file__).with_name("tunnel_direct.py")
    server = machine.effects_server(folder / "notes")
    done = subprocess.run(
        [machine.PYTHON, script, str(count), *server],
        cwd=folder,
        env=servers.environment(folder, {}),
        stdout=subprocess.PIPE,
        timeout=DIRECT_S,
        check=True,
    )
    return calls.named("look", json.loads(done.stdout))


def round_trips(stack: Stack, transport: str, folder: Path, count: int) -> Figures:
    """The figures of one machine on its own, asked at the last of the gateways."""
    notes = folder / "notes"
    owner = stack.owners[list(TRANSPORTS).index(transport)]
    fronted = {"effects": machine.effects_server(notes)}
    where = stack.workers[0].url
    with Machine(folder / "home", fronted, url=where, owner=owner, transport=transport) as laptop:
        laptop.wait_until_ready()
        tunnel.wait_until_offered(stack.caller(owner), laptop)
        port = int(stack.workers[-1].url.rpartition(":")[2])
        asyncio.run(calls.settle(port, owner.key, SETTLED))
        take_statistics(stack)
        gateways = [worker.program.pid for worker in stack.workers]
        return asyncio.run(
            calls.measure(port, owner.key, gateways, laptop.process.pid, count=count)
        )


def take_statistics(stack: Stack) -> None:
    """As PostgreSQL itself does within the first minute; until then its plans are guesses."""
    url = stack.settings["OPSCENTER_DATABASE_URL"]
    if url.startswith("postgres"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def render(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """The table of round trips in Markdown."""
    columns = [(database, transport) for database in found for transport in TRANSPORTS]
    titles = [f"{database}: {TRANSPORTS[transport]}" for database, transport in columns]
    lines = [
        f"| Round trip | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
    ]
    for key, title in ROWS.items():
        cells = [f"{found[database][transport][key]:,.1f}" for database, transport in columns]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    met = [
        "yes" if found[database][transport]["look.p50_ms"] <= TARGET_MS[transport] else "**no**"
        for database, transport in columns
    ]
    wanted = "; ".join(f"{name} {TARGET_MS[key]:.0f}" for key, name in TRANSPORTS.items())
    lines.append(f"| p50 of the first row at most: {wanted} | {' | '.join(met)} |")
    return "\n".join(lines)


def render_crowd(found: Mapping[str, Figures]) -> str:
    """The table of many machines in Markdown."""
    lines = [f"| Many machines at one process | {' | '.join(found)} |"]
    lines.append(f"| --- |{' ---: |' * len(found)}")
    for key, title in crowd.ROWS.items():
        cells = " | ".join(f"{figures[key]:,.1f}" for figures in found.values())
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tunnel", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few calls, few machines")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = options(argv)
    count = QUICK_CALLS if given.quick else CALLS
    many = QUICK_MACHINES if given.quick else MACHINES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(bench.OPEN_FILES, hard), hard))
    bench.say(install.ensure(peers.named(machine.CONNECTOR)))
    trips: dict[str, dict[str, Figures]] = {}
    floor: Figures
    crowds: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="opscenter-bench-") as temporary:
        folder = Path(temporary)
        floor = direct(folder, count)
        with stacks(folder) as running:
            for number, (name, stack) in enumerate(running.items()):
                trips[name] = {}
                for transport in TRANSPORTS:
                    bench.say(f"{name}: {transport}")
                    own = folder / f"{number}-{transport}"
                    own.mkdir()
                    trips[name][transport] = round_trips(stack, transport, own, count)
                bench.say(f"{name}: {many} machines")
                others = stack.owners[len(TRANSPORTS) :]
                crowds[name] = asyncio.run(crowd.measure(stack, others, many))
    load = os.getloadavg()[1]
    print(f"{bench.machine(1).removesuffix(' medians of 1 rounds.')} load {load:.1f}.\n")
    print(f"The MCP server alone, asked by the SDK: p50 {floor['look.p50_ms']:.1f} ms.\n")
    print(f"{render(trips)}\n\n{render_crowd(crowds)}")


if __name__ == "__main__":
    main(sys.argv[1:])
