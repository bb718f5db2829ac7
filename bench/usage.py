"""`python -m bench.usage`: how long a month of ten million requests takes to answer.

The sums are those of real rows: ten million requests are made inside the database, summed up as the
writer does it, and put where it puts them. The requests themselves are dropped then: no question is
answered from them.
"""

import argparse
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import servers
from tests.real import postgres

ROWS = 10_000_000
SEED_S = 3_600  # it took 2 to 7 minutes; a slow disk must not hold anybody for ever
TARGET_MS = 300
BYTES_A_ROW = 500  # on disk at the worst moment, when requests, sums and rollups are all there
TITLES = {"all": "all organizations", "one": "the largest one"}

Times = Mapping[str, tuple[float, float, float]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured(url: str, rows: int, folder: Path) -> Times:
    """The times of one database, in a process of its own."""
    more = {
        "OPSCENTER_ENV_FILE": os.devnull,
        "OPSCENTER_DATABASE_URL": url,
        "OPSCENTER_VAR_DIR": str(folder),
        "OPSCENTER_SECRET_KEY": secrets.token_hex(32),
        "OPSCENTER_KEY_PEPPER": secrets.token_hex(32),
        "OPSCENTER_LOG_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.usage_month", "--rows", str(rows)],
        cwd=servers.ROOT,
        env=servers.environment(folder, more),
        stdout=subprocess.PIPE,
        timeout=SEED_S,
        check=True,
    )
    times: Times = json.loads(done.stdout)
    return times


def render(found: Mapping[str, Times]) -> str:
    """The table in Markdown: median, most and mean processor time of five, in milliseconds."""
    heads = [f"{name}: {which}" for name in found for which in ("median", "max", "CPU")]
    lines = [f"| A month, by … | {' | '.join(heads)} | under {TARGET_MS} |"]
    lines.append("| --- |" + " ---: |" * len(heads) + " --- |")
    for key in next(iter(found.values())):
        whose, _, field = key.partition(".")
        times = [times[key] for times in found.values()]
        cells = [f"{value:,.0f}" for each in times for value in each]
        held = "yes" if all(median < TARGET_MS for median, *_ in times) else "**no**"
        lines.append(f"| {field}, {TITLES[whose]} | {' | '.join(cells)} | {held} |")
    return "\n".join(lines)


def main() -> None:
    """Seed and ask SQLite and PostgreSQL, or the one database that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--database", help="A database of your own; an empty one is filled.")
    options = parser.parse_args()
    found: dict[str, Times] = {}
    with tempfile.TemporaryDirectory(prefix="opscenter-bench-") as name:
        folder = Path(name)
        if not options.database and shutil.disk_usage(folder).free < options.rows * BYTES_A_ROW:
            sys.exit(f"{folder} has no room for {options.rows:,} requests; ask for fewer --rows.")
        if options.database:
            found["yours"] = measured(options.database, options.rows, folder)
        else:
            say("SQLite")
            url = f"sqlite:///{folder / 'month.sqlite3'}"
            found["SQLite"] = measured(url, options.rows, folder)
            say("PostgreSQL")
            with postgres.running() as server:
                found["PostgreSQL"] = measured(server.url, options.rows, folder)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {options.rows:,} requests; ", end="")
    print(f"{os.cpu_count()} cores ({platform.machine()}), load {load}\n\n{render(found)}")


if __name__ == "__main__":
    main()
