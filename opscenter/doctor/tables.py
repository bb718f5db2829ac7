"""The database: is it there, as this release needs it, and what waits in it."""

from datetime import UTC, datetime

from django.db import Error, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django.utils.timesince import timesince

from accounts import tables as migrated
from billing import backlog as billing_backlog
from mcp import backlog as mcp_backlog
from mcp.models import Connector
from opscenter.doctor.finding import Finding, fails, good, skipped, warns

SKEW_S = 5.0  # leases are 15 s; a third of that is a machine's beat
QUEUE_S = 60.0  # a call that waits longer has no machine that takes it
MINUTES_S = 120.0  # from here on nobody wants to count seconds
LAG_S = 600.0  # the exporter tries again within minutes
DOCS = "docs/operations.md"
AWAY_DOCS = f"{DOCS}#the-database-is-away"
NO_TABLES = "Its tables cannot be read: see the line database."


def database() -> Finding:
    """Whether it answers, which it is, and whether its migrations are applied."""
    try:
        version = _version()
        lacking = migrated.lacking()
        is_empty = not MigrationRecorder(connection).applied_migrations()
    except Error as error:
        text = f"It does not answer: {_why(error)}."
        return fails("database", text, "Start it, or correct OPSCENTER_DATABASE_URL.", AWAY_DOCS)
    if lacking and is_empty:
        text = f"{version}; it is empty."
        return fails("database", text, "Run make run, or manage.py setup.", DOCS)
    if lacking:
        text = f"{version}; it lacks {lacking} migrations of this release."
        return fails("database", text, "Back it up, then run manage.py migrate.", f"{DOCS}#upgrade")
    return good("database", f"{version}; every migration is applied.")


def _why(error: Error) -> str:
    """The end of what the driver says, where no address stands any more; else the error's kind."""
    first, _, _ = str(error).strip().partition("\n")
    return (
        first.rpartition("failed: ")[2].rstrip(".") if "failed: " in first else type(error).__name__
    )


def _version() -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA journal_mode")
            return f"SQLite, journal {str(cursor.fetchone()[0]).upper()}"
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0]}"


def clock() -> Finding:
    """Whether the database's clock and ours agree: leases and limits compare the two."""
    if connection.vendor == "sqlite":
        return skipped("clock", "SQLite has this machine's clock.")
    try:
        with connection.cursor() as cursor:
            before = datetime.now(UTC)
            cursor.execute("SELECT clock_timestamp()")
            there = cursor.fetchone()[0]
    except Error:
        return skipped("clock", "The database does not answer.")
    skew = (there - before).total_seconds()
    if abs(skew) > SKEW_S:
        text = f"The database is {skew:+.1f} s from here."
        return fails("clock", text, "Let NTP set the clock of both machines.", DOCS)
    return good("clock", f"The database is {skew:+.1f} s from here.")


def machines() -> Finding:
    """Which connectors are online, when one was heard last, and what waits for them."""
    docs = "docs/connector.md"
    try:
        state = mcp_backlog.read()
        last = Connector.objects.order_by("-last_seen_at").values_list("last_seen_at", flat=True)
        seen = last.exclude(last_seen_at=None).first()
    except Error:
        return skipped("machines", NO_TABLES)
    online = sum(state.sessions.values())
    queued = f"the oldest call waits {state.queue_age_s:.0f} s"
    if state.queue_age_s > QUEUE_S:
        text = f"{online} online; {queued}."
        return fails("machines", text, "Run ops-connector doctor on the machine.", docs)
    if seen is None:
        return skipped("machines", "None has ever connected.")
    silent_s = (timezone.now() - seen).total_seconds()
    beat = f"last beat {f'{silent_s:.0f} s' if silent_s < MINUTES_S else timesince(seen)} ago"
    if not online:
        text = f"None is online; {beat}."
        return warns("machines", text, "Start ops-connector run on the machine.", docs)
    return good("machines", f"{online} online, {beat}; {queued}.")


def outbox() -> Finding:
    """What waits to be sent to Lago."""
    try:
        state = billing_backlog.read()
    except Error:
        return skipped("outbox", NO_TABLES)
    text = f"{state.outbox_pending} events wait, the oldest {state.outbox_lag_s:.0f} s."
    if state.outbox_parked or state.outbox_lag_s > LAG_S:
        text = f"{text} {state.outbox_parked} are parked."
        return fails("outbox", text, "Look at Outbox in the admin.", f"{DOCS}#lago")
    return good("outbox", text)
