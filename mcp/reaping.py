"""What time does to calls: leases and deadlines that are over, processes that died, old rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from mcp import approving, clock, conditions, ending, questions
from mcp.models import ToolCall
from mcp.states import Answer, State

AT_ONCE = 500  # rows in one transaction; others must get their turn at the database too
MAX_ROUNDS = 20  # of AT_ONCE in one look; what is left is found by the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """The ids of the calls that a look changed, by what became of them."""

    abandoned: list[UUID] = field(default_factory=list)  # cancelled, or asked to stop: nobody waits
    expired: list[UUID] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)
    requeued: list[UUID] = field(default_factory=list)
    orphaned: list[UUID] = field(default_factory=list)
    lost: list[UUID] = field(default_factory=list)
    unanswered: list[UUID] = field(default_factory=list)

    def touched(self) -> Mapping[str, Sequence[UUID]]:
        """By kind, those kinds that there are."""
        kinds = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: ids for name, ids in kinds.items() if ids}


def reap(dead_waiters: Sequence[UUID] = ()) -> Reaped:
    """Move on every call whose time is over, and cancel those that nobody waits for any more."""
    abandoned: list[UUID] = []
    if dead_waiters:
        waits = Q(waiter__in=dead_waiters, cancel_requested=False)
        abandoned = _moved(
            lambda: waits & conditions.is_open(),
            lambda: ending.cancelling(conditions.cancelled_at_once()),
            questions.close_ended,
        )
    return Reaped(
        abandoned=abandoned,
        expired=_moved(lambda: conditions.expired(), lambda: _ended(State.EXPIRED)),
        cancelled=_moved(lambda: conditions.stopped(), lambda: _ended(State.CANCELLED)),
        requeued=_moved(lambda: conditions.requeued(), lambda: _put(State.QUEUED)),
        orphaned=_moved(lambda: conditions.orphaned(), lambda: _put(State.ORPHANED)),
        lost=_moved(lambda: conditions.lost(), lambda: _ended(State.LOST)),
        unanswered=_moved(
            lambda: conditions.unanswered(),
            lambda: questions.failed(approving.UNANSWERED),
            lambda ids: questions.close(ids, Answer.EXPIRED),
        ),
    )


def waiters() -> list[UUID]:
    """The processes that open calls are waited for by."""
    rows = ToolCall.objects.filter(conditions.is_open(), waiter__isnull=False)
    found = rows.order_by().values_list("waiter", flat=True).distinct()
    return [waiter for waiter in found if waiter is not None]


def _put(state: State) -> dict[str, Any]:
    return {"state": state, "lease_until": None}


def _ended(state: State) -> dict[str, Any]:
    return _put(state) | {"finished_at": clock.now()}


def _moved(
    condition: Callable[[], Q],
    changes: Callable[[], dict[str, Any]],
    also: Callable[[Sequence[UUID]], None] = lambda _: None,
) -> list[UUID]:
    """The ids of the rows that met the condition and were changed, with what is `also` to be done.

    It looks before it locks, for most looks find nothing and SQLite has one lock for all. Rows that
    somebody else holds are left to the next look: waiting for them might be in a circle.
    """
    moved: list[UUID] = []
    for _ in range(MAX_ROUNDS):
        due = list(ToolCall.objects.filter(condition()).values_list("id", flat=True)[:AT_ONCE])
        if not due:
            break
        with transaction.atomic():
            rows = ToolCall.objects.select_for_update(skip_locked=True, no_key=True)
            ours = list(rows.filter(condition(), id__in=due).values_list("id", flat=True))
            ToolCall.objects.filter(id__in=ours).update(**changes())
            also(ours)
        moved += ours
        if len(ours) < AT_ONCE:
            break
    return moved


def purge(older_than_days: float) -> int:
    """Delete calls that ended so long ago, with their events; how many. Their audit stays."""
    gone = clock.after(-older_than_days * 86_400)
    old = ToolCall.objects.filter(finished_at__lt=gone, audited=True)
    count = 0
    while ids := list(old.values_list("id", flat=True)[:AT_ONCE]):
        ToolCall.objects.filter(id__in=ids).delete()
        count += len(ids)
    return count
