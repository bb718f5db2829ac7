"""What the database says has happened, for those who did not hear it: one look per second."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q

from mcp import clock
from mcp.models import Approval, Connector, ToolCall
from mcp.states import Asker, State
from mcp.threads import off_loop

LATELY_S = 10.0  # a session opened earlier was seen by an earlier look, even by a late one
MOST_AT_ONCE = 1000  # ids in one query


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheard:
    """Connectors with work, connectors' newest epochs, and waited-for calls that went on."""

    busy: Sequence[UUID] = ()
    epochs: Sequence[tuple[UUID, int]] = ()
    progress: list[tuple[UUID, dict[str, Any]]] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)


@off_loop
def find(of_connectors: bool, calls: Sequence[UUID]) -> Unheard:
    """What has happened to `calls`, and to any connector."""
    found = Unheard()
    if of_connectors:
        found = Unheard(busy=_busy(), epochs=_epochs())
    for at in range(0, len(calls), MOST_AT_ONCE):
        rows = ToolCall.objects.filter(
            Q(finished_at__isnull=False) | Q(progress__isnull=False),
            id__in=calls[at : at + MOST_AT_ONCE],
        )
        for call, finished_at, progress in rows.values_list("id", "finished_at", "progress"):
            if progress is not None:
                found.progress.append((call, progress))
            if finished_at is not None:
                found.ended.append(call)
    return found


def _busy() -> list[UUID]:
    # Of all processes' connectors: what waits is little, and a thousand ids in a query are not.
    waiting = Q(state=State.QUEUED) | Q(finished_at__isnull=True, cancel_requested=True)
    work = ToolCall.objects.filter(waiting).values_list("connector_id", flat=True)
    # Whoever asked a person hears that the question is closed.
    closed = Approval.objects.filter(
        decided_at__gt=clock.after(-LATELY_S), asked_by=Asker.MACHINE
    ).values_list("connector_id", flat=True)
    return list(work.union(closed))


def _epochs() -> list[tuple[UUID, int]]:
    lately = Connector.objects.filter(opened_at__gt=clock.after(-LATELY_S))
    return list(lately.values_list("id", "epoch"))
