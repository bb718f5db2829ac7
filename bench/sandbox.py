"""`python -m bench.sandbox`: what a command of an agent costs before it does anything.

From the call to the outcome, as an ordinary user: the looks at protected names, the start, the end
of the last process. The first column is what each layer adds to a command without any.
"""

import argparse
import json
import os
import statistics
import subprocess

from bench import __main__ as bench
from bench import servers

CONNECTOR = servers.ROOT / "connector"
STARTS, QUICK_STARTS = 200, 40
WITHIN_S = 180.0
TARGET_P95_MS = {"bubblewrap": 30.0, "landlock": 15.0}
NAMES = {
    "bubblewrap": "A: bubblewrap, seccomp, bounds",
    "landlock": "B: Landlock, seccomp, bounds",
    "none": "C: bounds alone",
}


def measured(count: int) -> dict[str, list[float] | str]:
    """In the connector's own environment."""
    done = subprocess.run(
        [CONNECTOR / ".venv" / "bin" / "python", "-m", "tests.sandbox.starts", str(count)],
        cwd=CONNECTOR,
        stdout=subprocess.PIPE,
        timeout=WITHIN_S,
        check=True,
    )
    found: dict[str, list[float] | str] = json.loads(done.stdout)
    return found


def render(found: dict[str, list[float] | str]) -> str:
    """The table in Markdown."""
    lines = [
        "| A command that does nothing | p50 ms | p95 ms | p95 at most | met |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for layer, took in found.items():
        if isinstance(took, str):
            lines.append(f"| {NAMES[layer]} | not here: {took} | | | |")
            continue
        p50, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
        most = TARGET_P95_MS.get(layer)
        met = "" if most is None else "yes" if p95 <= most else "**no**"
        wanted = "" if most is None else f"{most:.0f}"
        lines.append(f"| {NAMES[layer]} | {p50:.1f} | {p95:.1f} | {wanted} | {met} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sandbox", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few commands")
    count = QUICK_STARTS if parser.parse_args().quick else STARTS
    before = os.getloadavg()[0]
    table = render(measured(count))
    heading = bench.machine(1).removesuffix(" medians of 1 rounds.")
    print(f"{heading} {count} commands each; load before it {before:.1f}.\n\n{table}")


if __name__ == "__main__":
    main()
