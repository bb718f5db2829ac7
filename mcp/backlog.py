"""Which machines are there and what waits for them, for who watches from outside."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count, Min
from django.utils import timezone

from mcp import registry
from mcp.models import Connector, ToolCall
from mcp.states import FINAL, State

OPEN = tuple(state.value for state in State if state not in FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Sessions by transport, open calls by state, and how old the first in the queue is."""

    sessions: Mapping[str, int]
    calls: Mapping[str, int]
    queue_age_s: float


def read() -> Backlog:
    """The state now, by three queries."""
    there = Connector.objects.filter(registry.is_online(), kind=Connector.Kind.TUNNEL)
    calls = ToolCall.objects.filter(finished_at__isnull=True)
    queued = calls.filter(state=State.QUEUED.value).aggregate(oldest=Min("created_at"))["oldest"]
    age = (timezone.now() - queued).total_seconds() if queued else 0.0
    counts = dict(calls.order_by().values_list("state").annotate(Count("pk")))
    return Backlog(
        sessions=dict(there.order_by().values_list("transport").annotate(Count("pk"))),
        calls={state: counts.get(state, 0) for state in OPEN},
        queue_age_s=max(age, 0.0),
    )
