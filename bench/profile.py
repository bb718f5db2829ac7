"""Where the time of ours goes: the gateway under cProfile while the small load runs."""

import asyncio
import pstats
import sys
import tempfile
from pathlib import Path

from bench import servers

SECONDS = "5"
LINES = 40


async def run() -> None:
    """Print the functions that take most time of their own, for plain answers and for streams."""
    with tempfile.TemporaryDirectory(prefix="opscenter-bench-") as temporary:
        folder = Path(temporary)
        async with servers.upstream(folder) as upstream:
            for scenario in ("small", "stream"):
                report = folder / f"{scenario}.pstats"
                async with servers.ours(upstream.url, folder, report) as server:
                    await _load(scenario, server)
                print(f"\n{scenario}\n", flush=True)
                pstats.Stats(str(report)).strip_dirs().sort_stats("tottime").print_stats(LINES)


async def _load(scenario: str, server: servers.Server) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "bench.load", scenario, "--port", str(server.port)],
        *["--pid", str(server.pid), "--key", server.key, "--seconds", SECONDS],
        cwd=servers.ROOT,
    )
    await process.wait()
