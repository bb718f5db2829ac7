"""Rows that are too old to be kept: deleted a few at a time, so that nobody waits for it.

The sums of usage stay, and so does whatever Lago has not acknowledged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from billing.models import Allowance, UsageRecord, WebhookDelivery

AT_ONCE = 500  # rows in one transaction; others must get their turn at the database too
ALLOWANCES_KEPT = timedelta(days=62)  # the month before last is over and settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What may go of one table."""

    name: str
    rows: QuerySet[Any]


def old(now: datetime, keep_days: int) -> Iterator[Old]:
    """What is too old at `now`. Without `keep_days` the ledger is kept for ever."""
    last = now - ALLOWANCES_KEPT
    # Days sort among the months that they are of: "2026-11" comes before "2026-11-01".
    yield Old(name="allowances", rows=Allowance.objects.filter(period__lt=f"{last:%Y-%m-%d}"))
    yield Old(name="sessions that are over", rows=Session.objects.filter(expire_date__lt=now))
    if keep_days:
        since = now - timedelta(days=keep_days)
        closed = Q(admitted_at__lt=since) & ~Q(state=UsageRecord.State.ADMITTED)
        told = UsageRecord.objects.filter(closed, event__isnull=True).order_by("admitted_at")
        yield Old(name="requests in the ledger", rows=told)
        heard = WebhookDelivery.objects.filter(received_at__lt=since)
        yield Old(name="webhooks of Lago's", rows=heard)


def prune(keep_days: int, now: datetime | None = None) -> dict[str, int]:
    """Delete it; how many rows of each table."""
    return {each.name: _delete(each.rows) for each in old(now or datetime.now(UTC), keep_days)}


def _delete(rows: QuerySet[Any]) -> int:
    return sum(_batches(rows))


def _batches(rows: QuerySet[Any]) -> Iterable[int]:
    count = AT_ONCE
    while count == AT_ONCE:
        with transaction.atomic():
            # Another process may be at it; what it has in its hands is not waited for.
            skips = connection.features.has_select_for_update_skip_locked
            taken = rows.select_for_update(skip_locked=True, of=("self",)) if skips else rows
            ids = list(taken.values_list("pk", flat=True)[:AT_ONCE])
            count = len(ids)
            rows.model._default_manager.filter(pk__in=ids).delete()
        yield count
