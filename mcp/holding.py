"""What a connector does with calls until they end: claim, start, renew, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Count, F, QuerySet, Value, When

from mcp import clock, conditions, policies, prepared, questions
from mcp.conditions import LEASE_S, Held, Holder
from mcp.models import Connector, ToolCall
from mcp.states import FINAL, HELD, Decision, State


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
class Claimed:
    """A call that is now leased to who asked, or has `begun` with it."""

    id: UUID
    fence: int
    server: str
    method: str
    params: str
    has_effects: bool
    remaining_ms: int
    begun: bool = False
    approval: str = ""  # digest of what a person approved, and where they did
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Of what was named: what is the holder's still, what is not, and what of it should stop."""

    held: list[Held]
    lost: list[Held]
    cancel: list[Held]


def claim(holder: Holder, most: int) -> list[Claimed]:
    """Lease at most `most` calls to the holder, the oldest first. Raises SupersededError."""
    with transaction.atomic():
        return _claim(holder, most)


def claim_begun(holder: Holder, most: int) -> list[Claimed]:
    """As `claim`, and those without effects begin at once: nothing is lost if they never do."""
    with transaction.atomic():
        return [_begun(holder, one) for one in _claim(holder, most)]


def _claim(holder: Holder, most: int) -> list[Claimed]:
    mine = _mine(holder)
    # Locked: two processes must not both count the same free places of one connector.
    if not (locked := _locked(**mine, epoch=holder.epoch)):
        raise SupersededError("A newer session of this machine is there.")
    in_flight = sum(count for (count,) in _in_flight(**mine))
    if (most := min(most, conditions.room(locked[0][0], in_flight))) <= 0:
        return []
    # What is cancelled meanwhile is not leased; what is, is ours until the commit.
    leased = [row for row in _lease(**mine, most=most) if _is_allowed(row)]
    return [_claimed(row) for row in sorted(leased, key=_by_age)]


def _begun(holder: Holder, one: Claimed) -> Claimed:
    if one.has_effects or one.approval:
        return one  # it begins once, so whoever runs it asks
    said = start(holder, one.id, one.fence)
    # Denied: its deadline has just come, and whoever asks to begin it is told so.
    return one if isinstance(said, Denial) else replace(one, begun=True, remaining_ms=said)


def _mine(holder: Holder) -> dict[str, Any]:
    return {"connector_id": holder.connector_id, "organization_id": holder.organization_id}


def _calls_of(connector_id: UUID, organization_id: UUID) -> QuerySet[ToolCall]:
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=0)
    return ToolCall.objects.filter(conditions.of_holder(holder))


@prepared.select
def _locked(*, connector_id: UUID, organization_id: UUID, epoch: int) -> QuerySet[Any, Any]:
    """Room for how many, where the holder is the connector's newest session."""
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=epoch)
    rows = Connector.objects.select_for_update(no_key=True).filter(conditions.newest(holder))
    return rows.values_list("max_in_flight")


@prepared.select
def _in_flight(*, connector_id: UUID, organization_id: UUID) -> QuerySet[Any, Any]:
    held = _calls_of(connector_id, organization_id).filter(conditions.is_open(), state__in=HELD)
    return held.values("connector_id").annotate(count=Count("id")).values_list("count")


@prepared.changed
def _lease(*, connector_id: UUID, organization_id: UUID, most: object) -> prepared.Told:
    # Open: so that an index of those alone serves, also where the plan does not know the state.
    open_calls = _calls_of(connector_id, organization_id).filter(conditions.is_open())
    waiting = open_calls.filter(conditions.claimable())
    oldest = waiting.order_by("created_at", "id").values("id")[:most]
    told = (
        "created_at",
        "id",
        "fence",
        "server",
        "method",
        "params",
        "has_effects",
        "deadline",
        "approval",
        "decision",
        "policy_version",
    )
    now = {"now": clock.now(), "newest": policies.newest_version(organization_id)}
    return (
        waiting.filter(id__in=oldest),
        {
            "state": State.LEASED,
            "fence": conditions.next_fence(),
            "deliveries": F("deliveries") + 1,
            "lease_until": clock.after(LEASE_S),
        },
        ToolCall.objects.annotate(**now).values_list(*told, *now),
    )


def _is_allowed(row: tuple[Any, ...]) -> bool:
    """What the organization allowed, or somebody approved for it, must still be so."""
    _, call_id, *_, decision, version, _, newest = row
    is_as_it_was = decision != Decision.ASK and version == newest
    return is_as_it_was or questions.is_as_approved(call_id)


def _by_age(row: tuple[Any, ...]) -> Any:
    return row[:2]


def _claimed(row: tuple[Any, ...]) -> Claimed:
    _, call_id, fence, server, method, params, has_effects, deadline, approval, *_, now, _ = row
    return Claimed(
        id=call_id,
        fence=fence,
        server=server,
        method=method,
        params=params,
        has_effects=has_effects,
        remaining_ms=ms_between(now, deadline),
        approval=approval,
        source=questions.source_of(call_id, approval) if approval else "",
    )


def ms_between(now: datetime, deadline: datetime) -> int:
    return max(int((deadline - now).total_seconds() * 1000), 0)


def start(holder: Holder, call_id: UUID, fence: int) -> int | Denial:
    """Let a call begin, the point of no return: what remains in milliseconds, or why it may not.

    Raises SupersededError.
    """
    mine = _mine(holder)
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
