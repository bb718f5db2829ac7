"""Which sessions a failure has moved to another upstream, as the ledger's rows tell."""

import uuid
from datetime import datetime

from django.db.models import Q

from billing.models import UsageRecord

State = UsageRecord.State
Move = tuple[datetime, str, str, str]  # when, for which model, from and to which upstream


def moves(since: datetime, most: int) -> dict[tuple[uuid.UUID, str], list[Move]]:
    """The sessions that a failure has moved to another upstream, each with its moves.

    The newest `most` are read; in an outage there may be many. Where no upstream answered, nothing
    has moved.
    """
    rows = (
        UsageRecord.objects.filter(Q(status=200) | Q(state=State.ADMITTED), admitted_at__gte=since)
        .exclude(moved_from="")
        .exclude(session_id="")
        .order_by("-admitted_at")
        .values_list(
            "organization_id",
            "session_id",
            "admitted_at",
            "requested_model",
            "moved_from",
            "upstream",
        )[:most]
    )
    found: dict[tuple[uuid.UUID, str], list[Move]] = {}
    for organization_id, session_id, at, model, origin, to in rows:
        found.setdefault((organization_id, session_id), []).append((at, model, origin, to))
    return found
