"""Under which conditions each verb of the queue may change a row, each with its name.

A condition is named so that it can be read, and tested by being broken. Verbs look them up here at
each call.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F, Q
from django.db.models.expressions import Combinable

from mcp import clock
from mcp.models import Connector, ToolCall
from mcp.states import HELD, Asker, Decision, Source, State

LEASE_S: float = settings.MCP_LEASE_S
RENEW_S = LEASE_S / 3  # two renewals may be lost
GRACE_S = 30.0  # after the deadline, for a late result
MAX_DELIVERIES = 5  # of a call without effects: one that takes its machine down each time ends

Held = tuple[UUID, int]  # a call, and the fence that it was handed out under


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A connector in one of its sessions."""

    connector_id: UUID
    organization_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """A person who answers, and for whose calls they may: their own, and all of some tenants."""

    actor: str  # as the audit trail names them
    name: str
    source: Source
    place: str
    user_id: int
    organizations: Collection[UUID]  # in which they act
    ruled: Collection[UUID] = ()  # of which they may answer for everybody
    holder: Holder | None = None  # at the terminal of a machine: for its calls alone


# Who asks.


def of_holder(holder: Holder) -> Q:
    return Q(connector_id=holder.connector_id, organization_id=holder.organization_id)


def newest(holder: Holder) -> Q:
    """Of connectors: the holder's, in this very session."""
    return Q(id=holder.connector_id, organization_id=holder.organization_id, epoch=holder.epoch)


def of_newest(holder: Holder) -> Q:
    return Q(Exists(Connector.objects.filter(newest(holder))))


def under_fence(call_id: UUID, fence: int) -> Q:
    return Q(id=call_id, fence=fence)


def among(held: Sequence[Held]) -> Q:
    found = Q(pk__in=[])
    for call_id, fence in held:
        found |= under_fence(call_id, fence)
    return found


# What a connector may do.


def claimable() -> Q:
    return Q(state=State.QUEUED, deadline__gt=clock.now())


def room(max_in_flight: Combinable, in_flight: Combinable) -> Combinable:
    return max_in_flight - in_flight


def next_fence() -> Combinable:
    return F("fence") + 1


def begins_at_once(newest: Combinable) -> Q:
    """Of what is handed out, what needs nobody's word to begin: that of its policy still holds."""
    return Q(
        ~Q(decision=Decision.ASK),
        policy_version=newest,
        has_effects=False,
        asked_by="",
        approval="",
        cancel_requested=False,
    )


def startable() -> Q:
    return Q(
        Q(asked_by="") | ~Q(approval=""),
        state=State.LEASED,
        cancel_requested=False,
        deadline__gt=clock.now(),
        lease_until__gt=clock.now(),
    )


def harmless() -> Q:
    """What runs, has no effects, and began by nobody's approval."""
    return Q(state=State.RUNNING, has_effects=False, asked_by="")


def askable() -> Q:
    """What has not begun, or only in name."""
    in_time = Q(cancel_requested=False, deadline__gt=clock.now(), lease_until__gt=clock.now())
    return in_time & (Q(state=State.LEASED) | harmless())


def begins_again(call: ToolCall, fence: int, now: datetime) -> bool:
    """Whether who asks may be told once more to begin: it has begun, and has no effects."""
    is_harmless = call.state == State.RUNNING and not call.has_effects and not call.asked_by
    is_held = call.fence == fence and call.lease_until is not None and call.lease_until > now
    return is_harmless and is_held and not call.cancel_requested and call.deadline > now


def renewable() -> Q:
    # Long after its deadline a call must end, though its connector goes on saying that it runs.
    return Q(state__in=HELD, lease_until__gt=clock.now(), deadline__gt=clock.after(-GRACE_S))


def in_progress() -> Q:
    return Q(state=State.RUNNING)


def releasable() -> Q:
    return Q(state=State.LEASED) | harmless()


def finishable() -> Q:
    return Q(state__in=[State.RUNNING, State.ORPHANED])


# What whoever asked for a call may do.


def cancelled_at_once() -> Q:
    return Q(state__in=[State.QUEUED, State.APPROVAL])


def is_open() -> Q:
    return Q(finished_at__isnull=True)


# What a person may do who is asked.


def may_decide(decider: Decider) -> Q:
    """Of approvals: those that are shown to them."""
    if decider.holder is not None:
        # A terminal answers its own machine's questions, not those of the organization.
        asked = Q(asked_by=Asker.MACHINE)
        return asked & of_holder(decider.holder) & of_newest(decider.holder)
    own = Q(user_id=decider.user_id, organization_id__in=decider.organizations)
    return own | Q(organization_id__in=decider.ruled)


def decidable() -> Q:
    return Q(state=State.APPROVAL, deadline__gt=clock.now())


def is_same(approved: str, now: str) -> bool:
    """Whether what was approved is what would run now, by their digests."""
    return approved == now


# What time does. In the order in which it is looked at.


def silent(state: State) -> Q:
    return Q(state=state, lease_until__lte=clock.now())


def late() -> Q:
    return Q(deadline__lte=clock.now())


def rerunnable() -> Q:
    """Of calls that began, those that may begin again."""
    return Q(
        has_effects=False,
        asked_by="",  # an approval is used once
        cancel_requested=False,
        deadline__gt=clock.now(),
        deliveries__lt=MAX_DELIVERIES,
    )


def expired() -> Q:
    never_begun = Q(state=State.QUEUED) | silent(State.LEASED) & Q(cancel_requested=False)
    return is_open() & never_begun & late()  # open: so that an index of those alone serves


def unanswered() -> Q:
    return is_open() & Q(state=State.APPROVAL) & late()


def stopped() -> Q:
    return silent(State.LEASED) & Q(cancel_requested=True)


def requeued() -> Q:
    handed_out = silent(State.LEASED) & Q(cancel_requested=False) & ~late()
    return handed_out | silent(State.RUNNING) & rerunnable()


def orphaned() -> Q:
    return silent(State.RUNNING) & ~rerunnable()


def lost() -> Q:
    return is_open() & Q(state=State.ORPHANED, deadline__lte=clock.after(-GRACE_S))
