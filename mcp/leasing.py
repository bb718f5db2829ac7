"""How calls are handed out: leased to a connector, and begun at once where nothing forbids it."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Func, IntegerField, QuerySet, Subquery, Value, When, Window
from django.db.models.expressions import Combinable
from django.db.models.functions import RowNumber

from accounts import planned
from mcp import clock, conditions, policies, prepared, questions
from mcp.conditions import LEASE_S, Holder
from mcp.holding import Denial, SupersededError, mine_of, ms_between, require_newest, start
from mcp.models import Connector, ToolCall
from mcp.states import HELD, Decision, State


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


def claim(holder: Holder, most: int) -> list[Claimed]:
    """Lease at most `most` calls to the holder, the oldest first. Raises SupersededError."""
    return _claim(holder, most, begins=False)


def claim_begun(holder: Holder, most: int) -> list[Claimed]:
    """As `claim`, and those without effects begin at once: nothing is lost if they never do."""
    return [_begun(holder, one) for one in _claim(holder, most, begins=True)]


def _claim(holder: Holder, most: int, *, begins: bool) -> list[Claimed]:
    if most <= 0:
        require_newest(holder)
        return []
    mine = mine_of(holder)
    # Locked: two processes must not both count the same free places of one connector. What counts
    # them is a statement of its own, so that it sees what was committed while this one waited.
    lock = _lock.statement(**mine, epoch=holder.epoch)
    lease = _lease.statement(**mine, epoch=holder.epoch, most=most, begins=begins)
    is_newest, rows = planned.together([lock, lease])
    if not is_newest:
        raise SupersededError("A newer session of this machine is there.")
    # Whoever dies here has leased what nobody runs: it is handed out again, and looked at again.
    leased = [row for row in rows if _is_allowed(row)]
    return [_claimed(row) for row in sorted(leased, key=_by_age)]


def _begun(holder: Holder, one: Claimed) -> Claimed:
    if one.begun or one.has_effects or one.approval:
        return one  # what has effects begins once, so whoever runs it asks
    said = start(holder, one.id, one.fence)
    # Denied: its deadline has just come, and whoever asks to begin it is told so.
    return one if isinstance(said, Denial) else replace(one, begun=True, remaining_ms=said)


def _calls_of(connector_id: UUID, organization_id: UUID) -> QuerySet[ToolCall]:
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=0)
    return ToolCall.objects.filter(conditions.of_holder(holder))


@prepared.select
def _lock(*, connector_id: UUID, organization_id: UUID, epoch: int) -> QuerySet[Any, Any]:
    """The connector, where the holder is its newest session."""
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=epoch)
    rows = Connector.objects.select_for_update(no_key=True).filter(conditions.newest(holder))
    return rows.values_list("id")


def _in_flight(calls: QuerySet[ToolCall]) -> Combinable:
    """How many of one connector's calls it has, as an expression for a query."""
    count = Func(F("id"), function="COUNT", output_field=IntegerField())  # in no groups: one row
    return Subquery(calls.filter(state__in=HELD).annotate(count=count).values("count"))


@prepared.changed
def _lease(
    *, connector_id: UUID, organization_id: UUID, epoch: int, most: object, begins: bool
) -> prepared.Told:
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=epoch)
    places = Subquery(Connector.objects.filter(conditions.newest(holder)).values("max_in_flight"))
    # Open: so that an index of those alone serves, also where the plan does not know the state.
    open_calls = _calls_of(connector_id, organization_id).filter(conditions.is_open())
    waiting = open_calls.filter(conditions.claimable())
    place = Window(RowNumber(), order_by=["created_at", "id"])
    free = conditions.room(places, _in_flight(open_calls))
    oldest = (
        waiting.annotate(place=place).filter(place__lte=free).order_by("place").values("id")[:most]
    )
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
        "state",
    )
    now = {"now": clock.now(), "newest": policies.newest_version(organization_id)}
    return (
        waiting.filter(id__in=oldest),
        {
            **(_begun_at_once(now["newest"]) if begins else {"state": State.LEASED}),
            "fence": conditions.next_fence(),
            "deliveries": F("deliveries") + 1,
            "lease_until": clock.after(LEASE_S),
        },
        ToolCall.objects.annotate(**now).values_list(*told, *now),
    )


def _begun_at_once(newest: Any) -> dict[str, Any]:
    """The columns of a beginning, for those that need nobody's word for it; the others wait."""
    at_once = conditions.begins_at_once(newest)
    return {
        "state": Case(When(at_once, then=Value(State.RUNNING)), default=Value(State.LEASED)),
        "starts": F("starts") + Case(When(at_once, then=Value(1)), default=Value(0)),
        "started_at": Case(When(at_once, then=clock.now()), default=F("started_at")),
    }


def _is_allowed(row: tuple[Any, ...]) -> bool:
    """What the organization allowed, or somebody approved for it, must still be so."""
    _, call_id, *_, decision, version, _, _, newest = row
    is_as_it_was = decision != Decision.ASK and version == newest
    if is_as_it_was:
        return True
    with transaction.atomic():
        return questions.is_as_approved(call_id)


def _by_age(row: tuple[Any, ...]) -> Any:
    return row[:2]


def _claimed(row: tuple[Any, ...]) -> Claimed:
    _, call_id, fence, server, method, params, has_effects, deadline, approval, *rest = row
    _, _, state, now, _ = rest
    return Claimed(
        id=call_id,
        fence=fence,
        server=server,
        method=method,
        params=params,
        has_effects=has_effects,
        remaining_ms=ms_between(now, deadline),
        begun=state == State.RUNNING,
        approval=approval,
        source=questions.source_of(call_id, approval) if approval else "",
    )
