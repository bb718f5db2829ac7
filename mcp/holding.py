"""What a connector does with the calls that it has: start, renew, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When

from mcp import clock, conditions, prepared
from mcp.conditions import LEASE_S, Held, Holder
from mcp.models import Connector, ToolCall
from mcp.states import FINAL, State


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
    UNAPPROVED = "nobody has approved it"
    SILENT = "its lease is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Of what was named: what is the holder's still, what is not, and what of it should stop."""

    held: list[Held]
    lost: list[Held]
    cancel: list[Held]


def mine_of(holder: Holder) -> dict[str, Any]:
    """Whose calls they are, for a query that is written once."""
    return {"connector_id": holder.connector_id, "organization_id": holder.organization_id}


def ms_between(now: datetime, deadline: datetime) -> int:
    return max(int((deadline - now).total_seconds() * 1000), 0)


def start(holder: Holder, call_id: UUID, fence: int) -> int | Denial:
    """Let a call begin, the point of no return: what remains in milliseconds, or why it may not.

    Raises SupersededError.
    """
    mine = mine_of(holder)
    begun = _begin(**mine, epoch=holder.epoch, call_id=call_id, fence=fence)
    if begun:
        return ms_between(*begun[0])
    require_newest(holder)
    mine_again = ToolCall.objects.filter(conditions.of_holder(holder), id=call_id)
    call: Any = mine_again.annotate(now=clock.now()).first()
    if call is not None and conditions.begins_again(call, fence, call.now):
        return ms_between(call.now, call.deadline)  # it was told so when it was handed out
    return why_not(call, fence)


@prepared.changed
def _begin(
    *, connector_id: UUID, organization_id: UUID, epoch: int, call_id: UUID, fence: int
) -> prepared.Told:
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=epoch)
    return (
        _asked(holder, call_id, fence).filter(conditions.startable()),
        {
            "state": State.RUNNING,
            "starts": F("starts") + 1,
            "started_at": clock.now(),
            "approval": "",  # it is spent
            "lease_until": clock.after(LEASE_S),
        },
        ToolCall.objects.annotate(now=clock.now()).values_list("now", "deadline"),
    )


def why_not(call: Any, fence: int) -> Denial:
    """Why a call, with the time as `now`, may not begin."""
    if call is None:
        return Denial.UNKNOWN
    reasons = [
        (Denial.ENDED, call.state in FINAL),
        (Denial.MOVED, call.fence != fence or call.state in {State.QUEUED, State.APPROVAL}),
        (Denial.CANCELLED, call.cancel_requested),
        (Denial.BEGUN, call.state != State.LEASED),
        (Denial.UNAPPROVED, bool(call.asked_by) and not call.approval),
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
        require_newest(holder)
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
        require_newest(holder)
    return noted == 1


def release(holder: Holder, call_id: UUID, fence: int) -> bool:
    """Put a call back that has not begun, or has no effects; one that was to stop ends.

    False if it is not held. Raises SupersededError.
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
        require_newest(holder)
    return released == 1


def _asked(holder: Holder, call_id: UUID, fence: int) -> QuerySet[ToolCall]:
    return ToolCall.objects.filter(
        conditions.under_fence(call_id, fence),
        conditions.of_holder(holder),
        conditions.of_newest(holder),
    )


def _is_newest(holder: Holder) -> bool:
    return Connector.objects.filter(conditions.newest(holder)).exists()


def require_newest(holder: Holder) -> None:
    """Raise SupersededError unless this is the connector's newest session."""
    if not _is_newest(holder):
        raise SupersededError("A newer session of this machine is there.")
