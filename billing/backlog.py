"""What waits in the tables of this app, for who watches from outside."""

from dataclasses import dataclass

from django.db.models import Count, Min, Q
from django.utils import timezone

from billing.models import Alarm, OutboxEvent, UsageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much waits, and for how long already."""

    open_requests: int
    outbox_pending: int
    outbox_parked: int
    outbox_lag_s: float  # of the oldest event that is pending
    alarms: int


def read() -> Backlog:
    """The state now, by three queries on indexes of what is open."""
    pending = Q(state=OutboxEvent.State.PENDING)
    events = OutboxEvent.objects.aggregate(
        pending=Count("pk", filter=pending),
        parked=Count("pk", filter=~pending),
        oldest=Min("queued_at", filter=pending),
    )
    lag = (timezone.now() - events["oldest"]).total_seconds() if events["oldest"] else 0.0
    return Backlog(
        open_requests=UsageRecord.objects.filter(state=UsageRecord.State.ADMITTED).count(),
        outbox_pending=events["pending"],
        outbox_parked=events["parked"],
        outbox_lag_s=max(lag, 0.0),
        alarms=Alarm.objects.count(),
    )
