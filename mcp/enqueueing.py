"""How a call gets into the queue: once for its ids, and only where there is room."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from accounts import planned
from billing import ledger, locking
from mcp import clock, conditions, denied, prepared, questions, texts
from mcp.models import ToolCall
from mcp.questions import Question
from mcp.states import Asker, State

DEADLINE_S = 30.0  # unless the caller says another
MAX_DEADLINE_S = 600.0
MAX_QUEUED = 64  # open calls of a connector; waiting in a full queue only looks like working
MAX_QUEUED_ORGANIZATION = 256
MAX_ARGUMENT_BYTES = 1024 * 1024  # a model wrote them; more than this is a mistake of its


class QueueFullError(Exception):
    """No room for another call. The text names the limit."""


class OtherCallError(Exception):
    """The ids of the request and of the use are those of another call."""


class ArgumentsTooLargeError(Exception):
    """The params are larger than MAX_ARGUMENT_BYTES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """What a caller wants run. `params` is JSON."""

    organization_id: UUID
    user_id: int
    connector_id: UUID
    server: str
    tool: str
    params: str
    has_effects: bool
    request_id: str
    tool_use_id: str
    step: UUID | None = None  # the row of the ledger whose answer calls it
    deadline_s: float = DEADLINE_S
    method: str = "tools/call"
    waiter: UUID | None = None
    definition: str = ""  # digest of the tool's
    decision: str = ""  # what the organization's policy says, and which version of it
    policy_version: int = 0
    question: Question | None = None  # a person must approve it first


def enqueue(new: NewCall) -> UUID:
    """The id of the call, which is in the queue when this returns. The same ids give the same call.

    Raises QueueFullError, ArgumentsTooLargeError, and OtherCallError where the ids are those of a
    call of something else.
    """
    return enqueue_or_find(new)[0]


def enqueue_or_find(new: NewCall) -> tuple[UUID, bool]:
    """As `enqueue`, and whether the call is new."""
    if len(new.params.encode()) > MAX_ARGUMENT_BYTES:
        raise ArgumentsTooLargeError(f"The arguments have more than {MAX_ARGUMENT_BYTES} bytes.")
    try:
        if new.question is None:
            return _put(new), True
        with transaction.atomic():
            call_id = _put(new)
            questions.put(ToolCall.objects.get(id=call_id), new.question)
            return call_id, True
    except (IntegrityError, QueueFullError):
        if (known := _known(new)) is None:
            raise
        return known, False


def deny(new: NewCall, text: str) -> None:
    """Keep for the audit a call that the organization's policy does not allow. It never runs."""
    with suppress(IntegrityError), transaction.atomic():  # the same call again
        ToolCall.objects.create(
            id=ledger.new_id(),
            organization_id=new.organization_id,
            user_id=new.user_id,
            connector_id=new.connector_id,
            server=new.server,
            tool=new.tool,
            method=new.method,
            params=denied.stored(new.params),
            has_effects=new.has_effects,
            request_id=new.request_id,
            tool_use_id=new.tool_use_id,
            step=new.step,
            definition=new.definition,
            decision=new.decision,
            policy_version=new.policy_version,
            state=State.FAILED,
            result=texts.failure(text),
            deadline=clock.now(),
            finished_at=clock.now(),
        )


def _put(new: NewCall) -> UUID:
    call_id = ledger.new_id()  # rises with time, so that calls of one moment keep their order
    lasts = timedelta(seconds=min(max(new.deadline_s, 0.0), MAX_DEADLINE_S))
    waits = new.question is not None
    insert = _insert.statement(
        call_id=call_id,
        organization_id=new.organization_id,
        user_id=new.user_id,
        connector_id=new.connector_id,
        server=new.server,
        tool=new.tool,
        method=new.method,
        params=new.params,
        has_effects=new.has_effects,
        request_id=new.request_id,
        tool_use_id=new.tool_use_id,
        step=new.step,
        waiter=new.waiter,
        lasts=lasts,
        definition=new.definition,
        decision=new.decision,
        policy_version=new.policy_version,
        state=State.APPROVAL.value if waits else State.QUEUED.value,
        asked_by=Asker.ORGANIZATION.value if waits else "",
        until=timedelta(seconds=questions.APPROVAL_S) if waits else lasts,
        most=MAX_QUEUED,
        most_everywhere=MAX_QUEUED_ORGANIZATION,
    )
    # One at a time in an organization, or two would both see the last free place.
    turn = locking.turns([f"tool-calls:{new.organization_id}"])
    while not planned.together([*turn, insert])[-1]:
        _require_room(new)  # there is none, unless a call has ended meanwhile
    return call_id


@prepared.insert_unless
def _insert(
    *,
    call_id: UUID,
    organization_id: UUID,
    user_id: int,
    connector_id: UUID,
    server: str,
    tool: str,
    method: str,
    params: str,
    has_effects: bool,
    request_id: str,
    tool_use_id: str,
    step: UUID | None,
    waiter: UUID | None,
    lasts: timedelta,
    definition: str,
    decision: str,
    policy_version: int,
    state: str,
    asked_by: str,
    until: timedelta,
    most: int,
    most_everywhere: int,
) -> prepared.Put:
    calls = _open_calls_of(organization_id, connector_id)
    is_full = Q(here__gte=most) | Q(everywhere__gte=most_everywhere)
    row = ToolCall(
        id=call_id,
        organization_id=organization_id,
        user_id=user_id,
        connector_id=connector_id,
        server=server,
        tool=tool,
        method=method,
        params=params,
        has_effects=has_effects,
        request_id=request_id,
        tool_use_id=tool_use_id,
        step=step,
        waiter=waiter,
        definition=definition,
        decision=decision,
        policy_version=policy_version,
        state=state,
        asked_by=asked_by,
        lasts=lasts,
        deadline=clock.now() + until,
    )
    return row, calls.filter(is_full)


def _known(new: NewCall) -> UUID | None:
    """The call of these ids. Who asks for it last waits for it: whoever did before may be dead."""
    calls = ToolCall.objects.filter(
        organization_id=new.organization_id,
        user_id=new.user_id,
        request_id=new.request_id,
        tool_use_id=new.tool_use_id,
    )
    if (found := calls.first()) is None:
        return None
    theirs = (found.server, found.tool, found.method, found.params)
    if theirs != (new.server, new.tool, new.method, new.params):
        raise OtherCallError(
            f"The ids {new.request_id} and {new.tool_use_id} are those of another call."
        )
    if new.waiter is not None:
        calls.filter(conditions.is_open()).update(waiter=new.waiter)
    return found.id


def _require_room(new: NewCall) -> None:
    asked = {"organization_id": new.organization_id, "connector_id": new.connector_id}
    everywhere, here = next(iter(_open_calls(**asked)), (0, 0))
    if here >= MAX_QUEUED:
        raise QueueFullError(f"The queue of this machine is full: {MAX_QUEUED} calls are open.")
    if everywhere >= MAX_QUEUED_ORGANIZATION:
        raise QueueFullError(
            f"The queue of this organization is full: {MAX_QUEUED_ORGANIZATION} calls are open."
        )


@prepared.select
def _open_calls(*, organization_id: UUID, connector_id: UUID) -> QuerySet[Any, Any]:
    return _open_calls_of(organization_id, connector_id)


def _open_calls_of(organization_id: UUID, connector_id: UUID) -> QuerySet[Any, Any]:
    """How many there are, and how many of them are the connector's; no row where there are none."""
    calls = ToolCall.objects.filter(conditions.is_open(), organization_id=organization_id)
    return (
        calls.values("organization_id")
        .annotate(everywhere=Count("id"), here=Count("id", filter=Q(connector_id=connector_id)))
        .values_list("everywhere", "here")
    )
