"""What a connector does with calls until they end: claim, start, renew, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When

from mcp import clock, conditions
from mcp.conditions import LEASE_S, Held, Holder
from mcp.models import Connector, ToolCall
from mcp.states import FINAL, HELD, State


class SupersededError(Exception):
    """A newer session of this connector is there, or the connector is gone."""


class Denial(StrEnum):
    """Why a call may not begin."""

    UNKNOWN = "there is no such call"
    ENDED = "it has ended"
    CANCELLED = "it was cancelled"
    MOVED = "it was handed out again, or will be"
    BEGUN = "it has begun already"
    LATE = "its deadline is over"
    SILENT = "its lease is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A call that is now leased to who asked."""

    id: UUID
    fence: int
    server: str
    method: str
    params: str
    has_effects: bool
    remaining_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Of what was named: what is the holder's still, what is not, and what of it should stop."""

    held: list[Held]
    lost: list[Held]
    cancel: list[Held]


def claim(holder: Holder, most: int) -> list[Claimed]:
    """Lease at most `most` calls to the holder, the oldest first. Raises SupersededError."""
    with transaction.atomic():
        # Locked: two processes must not both count the same free places of one connector.
        connector = (
            Connector.objects.select_for_update(no_key=True)
            .filter(id=holder.connector_id, organization_id=holder.organization_id)
            .first()
        )
        if connector is None or not _is_newest(holder):
            raise SupersededError("A newer session of this machine is there.")
        calls = ToolCall.objects.filter(conditions.of_holder(holder))
        in_flight = calls.filter(state__in=HELD, finished_at__isnull=True).count()
        if (most := min(most, conditions.room(connector.max_in_flight, in_flight))) <= 0:
            return []
        waiting = calls.filter(conditions.claimable()).order_by("created_at", "id")
        if not (ids := list(waiting.values_list("id", flat=True)[:most])):
            return []
        # What is cancelled meanwhile is not leased; what is, is ours until the commit.
        calls.filter(conditions.claimable(), id__in=ids).update(
            state=State.LEASED,
            fence=conditions.next_fence(),
            deliveries=F("deliveries") + 1,
            lease_until=clock.after(LEASE_S),
        )
        mine = calls.filter(id__in=ids, state=State.LEASED).order_by("created_at", "id")
        return [_claimed(call) for call in mine.annotate(now=clock.now())]


def _claimed(call: Any) -> Claimed:
    return Claimed(
        id=call.id,
        fence=call.fence,
        server=call.server,
        method=call.method,
        params=call.params,
        has_effects=call.has_effects,
        remaining_ms=_remaining_ms(call),
    )


def _remaining_ms(call: Any) -> int:
    return max(int((call.deadline - call.now).total_seconds() * 1000), 0)


def start(holder: Holder, call_id: UUID, fence: int) -> int | Denial:
    """Let a call begin, the point of no return: what remains in milliseconds, or why it may not.

    Raises SupersededError.
    """
    begun = (
        _asked(holder, call_id, fence)
        .filter(conditions.startable())
        .update(
            state=State.RUNNING,
            starts=F("starts") + 1,
            started_at=clock.now(),
            lease_until=clock.after(LEASE_S),
        )
    )
    call: Any = (
        ToolCall.objects.filter(conditions.of_holder(holder), id=call_id)
        .annotate(now=clock.now())
        .first()
    )
    if begun and call is not None:
        return _remaining_ms(call)
    _require_newest(holder)
    return _why_not(call, fence)


def _why_not(call: Any, fence: int) -> Denial:
    if call is None:
        return Denial.UNKNOWN
    reasons = [
        (Denial.ENDED, call.state in FINAL),
        (Denial.MOVED, call.fence != fence or call.state == State.QUEUED),
        (Denial.BEGUN, call.state != State.LEASED),
        (Denial.CANCELLED, call.cancel_requested),
        (Denial.LATE, call.deadline <= call.now),
    ]
    return next((reason for reason, is_so in reasons if is_so), Denial.SILENT)


def renew(holder: Holder, held: Sequence[Held]) -> Renewal:
    """Extend the leases of what the holder says it has. Raises SupersededError."""
    mine = ToolCall.objects.filter(conditions.of_holder(holder), conditions.among(held))
    with transaction.atomic():
        mine.filter(conditions.of_newest(holder), conditions.renewable()).update(
            lease_until=clock.after(LEASE_S)
        )
        _require_newest(holder)
        # A lease that was over before stays over, so this finds no other than the UPDATE did.
        rows = mine.filter(conditions.renewable())
        found = {(row.id, row.fence): row.cancel_requested for row in rows}
    return Renewal(
        held=[each for each in held if each in found],
        lost=[each for each in held if each not in found],
        cancel=[each for each in held if found.get(each)],
    )


def note_progress(holder: Holder, call_id: UUID, fence: int, progress: Mapping[str, Any]) -> bool:
    """Keep what the tool said last; False if the call does not run with the holder.

    Raises SupersededError.
    """
    noted = (
        _asked(holder, call_id, fence)
        .filter(conditions.in_progress())
        .update(progress=dict(progress))
    )
    if not noted:
        _require_newest(holder)
    return noted == 1


def release(holder: Holder, call_id: UUID, fence: int) -> bool:
    """Put a call back that has not begun; one that was to stop ends. False if it is not held.

    Raises SupersededError.
    """
    released = (
        _asked(holder, call_id, fence)
        .filter(conditions.releasable())
        .update(
            state=Case(
                When(cancel_requested=True, then=Value(State.CANCELLED.value)),
                default=Value(State.QUEUED.value),
            ),
            finished_at=Case(When(cancel_requested=True, then=clock.now()), default=None),
            lease_until=None,
        )
    )
    if not released:
        _require_newest(holder)
    return released == 1


def _asked(holder: Holder, call_id: UUID, fence: int) -> QuerySet[ToolCall]:
    return ToolCall.objects.filter(
        conditions.under_fence(call_id, fence),
        conditions.of_holder(holder),
        conditions.of_newest(holder),
    )


def _is_newest(holder: Holder) -> bool:
    return Connector.objects.filter(conditions.newest(holder)).exists()


def _require_newest(holder: Holder) -> None:
    if not _is_newest(holder):
        raise SupersededError("A newer session of this machine is there.")
