"""Ask one database about the month that `bench.usage_seed` made; started by `bench.usage`."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from opscenter import env

env.use_settings()

import django  # noqa: E402  (settings first)

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (needs Django)
from django.core.management import call_command  # noqa: E402  (needs Django)
from django.db import connection  # noqa: E402  (needs Django)
from django.db.models import Count, Sum  # noqa: E402  (needs Django)
from django.test import Client  # noqa: E402  (needs Django)

from bench import proc, usage_seed  # noqa: E402  (needs Django)
from billing.models import UsageRollup  # noqa: E402  (needs Django)

RUNS = 5
GROUPINGS = ("day", "hour", "organization", "model", "user", "key", "agent", "session", "tag")
RANGE = {"from": "2026-10-01", "to": "2026-11-01", "limit": "1000"}

# The median and the most by the clock, and the mean of processor time, in milliseconds.
Times = dict[str, tuple[float, float, float]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def seed(rows: int) -> None:
    """Migrate and fill the database, unless it is filled already."""
    call_command("migrate", verbosity=0, interactive=False)
    if UsageRollup.objects.exists():
        say("  (filled by an earlier run)")
    else:
        _hurry(True)
        usage_seed.seed(rows, say)
        _hurry(False)


def _hurry(on: bool) -> None:
    """For the seed alone: no promise that it survives a crash, and memory to sort in."""
    quick = {
        "sqlite": ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-500000"),
        "postgresql": ("SET work_mem='256MB'",),
    }
    with connection.cursor() as cursor:
        for statement in quick[connection.vendor] if on else ():
            cursor.execute(statement)
    if not on:
        connection.close()  # the questions are asked under the settings of the product


def ask() -> Times:
    """Each question, over REST as an operator asks it, a few times."""
    operator = User.objects.filter(is_staff=True).first() or User.objects.create(
        id=usage_seed.USERS + 1, username="operator", is_staff=True
    )
    client = Client()
    client.force_login(operator)
    sizes = UsageRollup.objects.filter(kind="month").values("organization")
    largest = sizes.annotate(size=Sum("requests")).order_by("-size")[0]["organization"]
    found = {}
    for whose, more in (("all", {}), ("one", {"organization": str(largest)})):
        for name in GROUPINGS:
            if (whose, name) == ("one", "organization"):
                continue  # one group of one
            query = RANGE | more | {"group_by": name}
            found[f"{whose}.{name}"] = _timed(client, query)
    return found


def _timed(client: Client, query: dict[str, str]) -> tuple[float, float, float]:
    took = []
    server = _server()
    cpu_began = time.process_time() + (proc.cpu_s(server) if server else 0)
    for _ in range(RUNS):
        began = time.perf_counter()
        answer = client.get("/api/v1/usage", query, headers={"host": "localhost"})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.content  # noqa: S101  (a bench that measures refusals lies)
    cpu = time.process_time() + (proc.cpu_s(server) if server else 0) - cpu_began
    return statistics.median(took), max(took), cpu * 1000 / RUNS


def _server() -> int | None:
    """The process that all of PostgreSQL's descend from, if it is on this machine."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    status = Path(f"/proc/{backend}/status")
    if not status.exists():
        return None
    return int(status.read_text().partition("PPid:")[2].split()[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    options = parser.parse_args()
    seed(options.rows)
    kinds = UsageRollup.objects.values_list("kind").annotate(Count("id")).order_by("kind")
    say("  rows of sums: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds))
    sys.stdout.write(json.dumps(ask()))
