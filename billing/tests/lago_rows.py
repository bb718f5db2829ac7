"""Ledger rows on their way to Lago, made without a request."""

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.tests.people import Person
from billing import ledger
from billing.models import OutboxEvent, UsageRecord


def usage(person: Person, count: int = 1, *, queued: bool = True, **more: Any) -> list[UsageRecord]:
    """So many closed rows, each metered and, if `queued`, in the outbox."""
    now = datetime.now(UTC)
    rows = [
        UsageRecord(
            **{
                "id": ledger.new_id(),
                "organization": person.organization,
                "user_id": person.user.pk,
                "api_key_id": "0123456789ab",
                "state": UsageRecord.State.COMPLETED,
                "requested_model": "claude-opus-5-5",
                "target_model": "claude-opus-5-5",
                "served_model": "claude-opus-5-5-20260101",
                "upstream": "anthropic",
                "streamed": True,
                "admitted_at": now + timedelta(milliseconds=number),
                "closed_at": now + timedelta(seconds=1),
                "duration_ms": 1000,
                "input_tokens": 100 + number,
                "output_tokens": 20,
                "cache_read_tokens": 3,
                "cost_nano": 1_500_000 + number,
                "metered": True,
            }
            | more
        )
        for number in range(count)
    ]
    UsageRecord.objects.bulk_create(rows)
    if queued:
        queue(rows)
    return rows


def queue(rows: list[UsageRecord]) -> None:
    """Put events of these rows into the outbox."""
    OutboxEvent.objects.bulk_create([OutboxEvent(record=row) for row in rows])
