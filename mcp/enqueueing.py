"""How a call gets into the queue: once for its ids, and only where there is room."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q

from billing import ledger, locking
from mcp import clock, conditions
from mcp.models import ToolCall
from mcp.states import State

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
    deadline_s: float = DEADLINE_S
    method: str = "tools/call"
    waiter: UUID | None = None


def enqueue(new: NewCall) -> UUID:
    """The id of the call, which is in the queue when this returns. The same ids give the same call.

    Raises QueueFullError, ArgumentsTooLargeError, and OtherCallError where the ids are those of a
    call of something else.
    """
    if len(new.params.encode()) > MAX_ARGUMENT_BYTES:
        raise ArgumentsTooLargeError(f"The arguments have more than {MAX_ARGUMENT_BYTES} bytes.")
    with transaction.atomic():
        # One at a time in an organization, or two would both see the last free place.
        locking.take_turns([f"tool-calls:{new.organization_id}"])
        if (known := _known(new)) is not None:
            return known
        _require_room(new)
        call = ToolCall.objects.create(
            id=ledger.new_id(),  # rises with time, so that calls of one moment keep their order
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
            waiter=new.waiter,
            state=State.QUEUED,
            deadline=clock.after(min(max(new.deadline_s, 0.0), MAX_DEADLINE_S)),
        )
        return call.id


def _known(new: NewCall) -> UUID | None:
    found = ToolCall.objects.filter(
        organization_id=new.organization_id,
        user_id=new.user_id,
        request_id=new.request_id,
        tool_use_id=new.tool_use_id,
    ).first()
    if found is None:
        return None
    theirs = (found.server, found.tool, found.method, found.params)
    if theirs != (new.server, new.tool, new.method, new.params):
        raise OtherCallError(
            f"The ids {new.request_id} and {new.tool_use_id} are those of another call."
        )
    return found.id


def _require_room(new: NewCall) -> None:
    found = ToolCall.objects.filter(
        conditions.is_open(), organization_id=new.organization_id
    ).aggregate(all=Count("id"), here=Count("id", filter=Q(connector_id=new.connector_id)))
    if found["here"] >= MAX_QUEUED:
        raise QueueFullError(f"The queue of this machine is full: {MAX_QUEUED} calls are open.")
    if found["all"] >= MAX_QUEUED_ORGANIZATION:
        raise QueueFullError(
            f"The queue of this organization is full: {MAX_QUEUED_ORGANIZATION} calls are open."
        )
