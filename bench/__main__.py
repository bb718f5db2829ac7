"""`python -m bench`: ours, the raw floor and LiteLLM in alternating rounds, and the tables."""

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import peer, profile, servers, stores, table
from bench.stores import Stores
from tests.real import peers

README = Path(__file__).parent / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"
OPEN_FILES = 8192  # a thousand streams are two thousand sockets in a gateway
LOAD_S = 90.0  # the longest scenario ends by itself after 45 s
SCENARIOS = ("idle", "held", "small", "large", "stream")  # memory first, in a process still fresh
SECONDS = {
    "small": 5.0,
    "large": 5.0,
    "stream": 4.0,
}  # LiteLLM answers 16 at a time, 4 times a second
QUICK_S = 2.0
FAILED = "failed"
QUICK = ("floor", "ours", "litellm")
PEER = ("litellm", "litellm2")

Figures = dict[str, float]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def load(scenario: str, server: servers.Server, *, quick: bool) -> Figures:
    """One scenario in a process of its own."""
    seconds = QUICK_S if quick else SECONDS.get(scenario, QUICK_S)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "bench.load", scenario, "--port", str(server.port)],
        *["--pid", str(server.pid), "--key", server.key, "--seconds", str(seconds)],
        *["--stores", *map(str, server.stores)],
        cwd=servers.ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LOAD_S)
    except TimeoutError:
        process.kill()
        raise servers.NotReadyError(f"{server.name}: {scenario} did not end") from None
    if process.returncode:
        raise servers.NotReadyError(f"{server.name}: {scenario} failed")
    figures: Figures = json.loads(said)
    if figures.get(FAILED):
        say(f"    {server.name}: {scenario}: {figures[FAILED]:.0f} requests FAILED")
    return {f"{scenario}.{name}": value for name, value in figures.items()}


async def measure(name: str, starting: servers.Running, direct: Figures, *, quick: bool) -> Figures:
    """All scenarios against one system, in a process started for them."""
    figures: Figures = {}
    async with starting as server:
        for scenario in SCENARIOS:
            if scenario == "held" and quick:
                continue
            figures |= await load(scenario, server, quick=quick)
    for share in ("p50_ms", "p99_ms"):
        added = figures[f"stream.ttft_{share}"] - direct[f"stream.ttft_{share}"]
        figures[f"stream.added_{share}"] = added
    say(
        f"  {name}: {figures['small.cpu_ms']:.3f} ms small, {figures['large.cpu_ms']:.3f} ms large,"
        f" {figures['stream.cpu_us_event']:.1f} µs a chunk"
    )
    return figures


async def compare(
    names: Sequence[str], on: Stores | None, *, rounds: int, quick: bool
) -> dict[str, list[Figures]]:
    """Each round by system. Every other round runs backwards, so that no system is always first."""
    seen: dict[str, list[Figures]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="opscenter-bench-") as temporary:
        folder = Path(temporary)
        async with servers.upstream(folder) as upstream:
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                direct = await load("stream", upstream, quick=quick)
                for name in list(names)[:: -1 if number % 2 else 1]:
                    starting = servers.start(name, upstream.url, folder, on)
                    figures = await measure(name, starting, direct, quick=quick)
                    seen[name].append(figures)
    return seen


def machine(rounds: int) -> str:
    """Date, commit and machine: without them the figures say nothing."""
    git = ["git", "--no-optional-locks", "-C", str(servers.ROOT)]
    commit = _said([*git, "rev-parse", "--short", "HEAD"]) or "no commit"
    changed = " with changes" if _said([*git, "status", "--porcelain"]) else ""
    cores = len(os.sched_getaffinity(0))
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"{now}, commit {commit}{changed}; {cores} cores ({platform.machine()}),"
        f" Python {platform.python_version()}; medians of {rounds} rounds."
    )


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


def keep(text: str) -> None:
    """Put the table between the two markers of the README."""
    before, _, rest = README.read_text().partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{text}\n{END}{after}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=",".join(table.SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="short, one round, no held streams, the first workers"
    )
    parser.add_argument("--profile", action="store_true", help="where the time of ours goes")
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else QUICK if given.quick else table.SYSTEMS
    given.only = [name for name in table.SYSTEMS if name in wanted]
    if not given.only or not 1 <= given.rounds <= 20:
        parser.error(f"--only takes {', '.join(table.SYSTEMS)}; --rounds takes 1 to 20")
    return given


def to_be_had(names: Sequence[str]) -> list[str]:
    """Those systems that can run here; for the others it is said why not."""
    found = list(names)
    if not set(PEER).isdisjoint(found):
        try:
            peer.install()
        except peer.NotInstalledError as error:
            say(f"{error}; going on without it")
            found = [name for name in found if name not in PEER]
    missing = [one for one in map(peers.named, stores.PEERS) if not peers.is_there(one)]
    if missing and not set(servers.ON_STORES).isdisjoint(found):
        say(f"{' and '.join(map(str, missing))}: not here; `make real` installs them")
        found = [name for name in found if name not in servers.ON_STORES]
    return found


def main() -> None:
    given = options()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    if given.profile:
        asyncio.run(profile.run())
        return
    names, rounds = to_be_had(given.only), 1 if given.quick else given.rounds
    with ExitStack() as beside:
        on = None
        if not set(servers.ON_STORES).isdisjoint(names):
            on = beside.enter_context(stores.running())
        seen = asyncio.run(compare(names, on, rounds=rounds, quick=given.quick))
    systems = {name: table.medians(figures) for name, figures in seen.items()}
    text = f"{machine(rounds)} {table.spread(seen)}\n\n{table.render_targets(systems)}"
    text += f"\n\n{table.render(systems)}"
    print(text)
    if len(names) == len(table.SYSTEMS) and not given.quick:
        keep(text)  # a partial table must not replace a whole one


if __name__ == "__main__":
    try:
        main()
    except servers.NotReadyError as error:
        sys.exit(f"bench: {error}")
