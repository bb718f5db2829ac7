"""`python -m bench.lists`: how long the admin's pages take with a million requests in the ledger.

The rows are a thousand real ones, multiplied inside the database. Each page is opened as a browser
would, in this process: what is measured is the view, its queries and its template.
"""

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import servers
from tests.real import postgres

REQUESTS, CALLS = 1_000_000, 200_000
QUICK = 100  # a hundredth of each
PATTERNS = 1_000  # rows that the rest are copies of
OPENED = 5  # times, after once to warm up
TARGET_MS = 500
SEED_S = 3_600

SHIFT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {column}, '-' || (n * {every}) || ' seconds')",
    "postgresql": "{column} - n * {every} * interval '1 second'",
}
NEW_ID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}
NEW_TEXT = {"sqlite": "lower(hex(randomblob(8)))", "postgresql": "gen_random_uuid()::text"}
SERIES = {
    "sqlite": "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {most})"
    " SELECT n FROM c)",
    "postgresql": "(SELECT generate_series(1, {most}) AS n)",
}


def multiply(model: Any, times: int, every_s: int, moments: set[str], texts: set[str]) -> None:
    """Have `times` rows for each that is there, each copy a little older."""
    from django.db import connection

    vendor = connection.vendor
    columns = [field.column for field in model._meta.concrete_fields]
    values = []
    for column in columns:
        if column == "id":
            values.append(NEW_ID[vendor])
        elif column in moments:
            values.append(SHIFT[vendor].format(column=column, every=every_s))
        else:
            values.append(NEW_TEXT[vendor] if column in texts else column)
    table, most = model._meta.db_table, times - 1
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608  (names of ours)
            f" SELECT {', '.join(values)} FROM {table}, {SERIES[vendor].format(most=most)} AS s"
        )
        cursor.execute("ANALYZE")


def seed(requests: int, calls: int) -> None:
    """A ledger and a queue that a team has filled in some months."""
    from datetime import timedelta

    from django.contrib.auth.models import User
    from django.utils import timezone

    from accounts.models import Membership, Organization
    from accounts.tests.people import Person
    from billing.models import UsageRecord
    from billing.tests.usage_rows import keep, row
    from mcp.models import ToolCall
    from mcp.states import State
    from mcp.tests import machines

    people = []
    for number in range(20):
        organization = Organization.objects.create(name=f"Organization {number}")
        user = User.objects.create(username=f"person-{number}")
        Membership.objects.create(organization=organization, user=user, role="owner")
        people.append(Person(user=user, organization=organization))
    now = timezone.now()
    keep(
        [
            row(
                people[number % 20],
                now - timedelta(seconds=8 * number),
                model=f"claude-{number % 7}",
                upstream=("anthropic", "litellm")[number % 2],
                session_id=f"session-{number}",
                first_byte_ms=300 + number,
                cost_nano=number * 1_000_000,
                input_tokens=number,
            )
            for number in range(PATTERNS)
        ]
    )
    multiply(UsageRecord, requests // PATTERNS, 8 * PATTERNS, {"admitted_at", "closed_at"}, set())
    laptop = machines.machine(people[0])
    for number in range(PATTERNS):
        machines.call(laptop, State.SUCCEEDED, request_id=f"req_{number}")
    moments = {"created_at", "started_at", "finished_at", "deadline", "deadline_at"}
    multiply(ToolCall, max(calls // PATTERNS, 2), 60, moments, {"tool_use_id"})


def pages() -> list[str]:
    """The first page, each list, and one request."""
    from django.contrib import admin

    from billing.models import UsageRecord

    lists = [
        f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for model in admin.site._registry
    ]
    newest = UsageRecord.objects.order_by("-admitted_at").first()
    assert newest is not None  # noqa: S101  (it was just made)
    request = f"/admin/billing/usagerecord/{newest.pk}/change/"
    return ["/admin/", "/admin/?range=90d", "/admin/billing/usage/", *sorted(lists), request]


def opened() -> list[tuple[str, float, float]]:
    """Each page with its median and its longest time, in milliseconds."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    user = User.objects.create_superuser("operator")
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    found = []
    for page in pages():
        times = []
        for _ in range(OPENED + 1):
            began = time.perf_counter()
            answer = client.get(page)
            times.append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 200, (page, answer.status_code)  # noqa: S101  (no figure of a page that failed)
        found.append((page, statistics.median(times[1:]), max(times[1:])))
    return found


def run(requests: int, calls: int) -> None:
    """In a process that has its own database in its settings."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    began = time.monotonic()
    seed(requests, calls)
    print(f"{requests:,} requests and {calls:,} calls in {time.monotonic() - began:.0f} s\n")
    print(f"| Page | median ms | longest ms | under {TARGET_MS} |\n| --- | ---: | ---: | --- |")
    for page, median, longest in opened():
        name = page.replace("/admin/", "", 1) or "dashboard"
        held = "yes" if median < TARGET_MS else "**no**"
        print(f"| {name[:60]} | {median:,.0f} | {longest:,.0f} | {held} |")


def measured(url: str, options: argparse.Namespace, folder: Path) -> None:
    more = {
        "OPSCENTER_ENV_FILE": os.devnull,
        "OPSCENTER_DATABASE_URL": url,
        "OPSCENTER_VAR_DIR": str(folder),
        "OPSCENTER_SECRET_KEY": secrets.token_hex(32),
        "OPSCENTER_KEY_PEPPER": secrets.token_hex(32),
        "OPSCENTER_LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "opscenter.settings",
    }
    few = ["--quick"] if options.quick else []
    subprocess.run(
        [sys.executable, "-m", "bench.lists", "--here", *few],
        cwd=servers.ROOT,
        env=servers.environment(folder, more),
        timeout=SEED_S,
        check=True,
    )


def main() -> None:
    """SQLite and PostgreSQL, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    part = QUICK if options.quick else 1
    if options.here:
        run(REQUESTS // part, CALLS // part)
        return
    with tempfile.TemporaryDirectory(prefix="opscenter-bench-") as name:
        folder = Path(name)
        print("SQLite:", flush=True)
        measured(f"sqlite:///{folder / 'lists.sqlite3'}", options, folder)
        print("\nPostgreSQL:", flush=True)
        with postgres.running() as server:
            measured(server.url, options, folder)


if __name__ == "__main__":
    main()
