"""How a tool that somebody wants run becomes a call in the queue, if the policy lets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from accounts.principal import Principal
from mcp import bell, calls, handout, lastwords, living, offers, policies
from mcp.offers import RefusedError, Target
from mcp.states import Asker, Decision
from mcp.threads import off_loop

ID_CHARS = 64  # the columns' width


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A tool to be run, looked at as far as no table is needed."""

    server: str
    tool: str
    arguments: Mapping[str, Any]
    params: str
    request_id: str
    tool_use_id: str
    deadline_s: float
    machine: str = ""  # its name; empty: whichever has the server
    step: UUID | None = None  # the row of the ledger whose answer calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A call that is in the queue."""

    call_id: UUID
    is_new: bool
    connector_id: UUID
    tray: handout.Tray | None = None  # where a session waits for it here
    leased: handout.Leased | None = None


def wanted(
    server: str,
    tool: str,
    arguments: Mapping[str, Any],
    ids: tuple[str, str],
    deadline_s: float,
    machine: str = "",
    step: UUID | None = None,
) -> Wanted:
    """What is to be run. Raises RefusedError."""
    params = _params(tool, arguments)
    if not 0 < deadline_s <= calls.MAX_DEADLINE_S:
        text = f"A deadline is more than 0 and at most {calls.MAX_DEADLINE_S:.0f} seconds."
        raise RefusedError("bad_deadline", text)
    if any(not 0 < len(one) <= ID_CHARS or "\0" in one for one in ids):
        text = f"The ids of a call have 1 to {ID_CHARS} characters."
        raise RefusedError("bad_ids", text)
    return Wanted(
        server=server,
        tool=tool,
        arguments=arguments,
        params=params,
        request_id=ids[0],
        tool_use_id=ids[1],
        deadline_s=deadline_s,
        machine=machine,
        step=step,
    )


def _params(tool: str, arguments: Mapping[str, Any]) -> str:
    """MCP's params. Only the size is looked at: whether they fit the tool, its server says."""
    if not isinstance(arguments, Mapping):
        raise RefusedError("bad_arguments", "The arguments of a tool must be an object.")
    try:
        params = msgspec.json.encode({"name": tool, "arguments": arguments})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedError("bad_arguments", "The arguments are not JSON.") from error
    if len(params) > calls.MAX_ARGUMENT_BYTES:
        text = f"The arguments have more than {calls.MAX_ARGUMENT_BYTES} bytes."
        raise RefusedError("too_large", text)
    return params.decode()


async def put_in(principal: Principal, what: Wanted, waiter: UUID | None) -> Put:
    """Put a call into the queue, and see to it that its machine hears of it.

    Not to be cancelled: it may have leased other calls than its own. Raises RefusedError.
    """
    put = await _put(principal, what, waiter)
    if put.tray is None or put.leased is None:
        return put  # its machine has been rung for
    if not put.tray.lay(put.leased):
        await lastwords.said(handout.hand_back(put.tray.holder, put.leased.claimed))
        bell.ring_connector(put.connector_id)  # others than this call may wait again
    return put


@off_loop
def _put(principal: Principal, what: Wanted, waiter: UUID | None) -> Put:
    found = offers.find(principal, what.server, what.tool, what.machine)
    new = _new(principal, what, found, waiter)
    try:
        call_id, is_new = calls.enqueue_or_find(new)
    except calls.QueueFullError as error:
        raise RefusedError("queue_full", str(error)) from error
    except calls.OtherCallError as error:
        raise RefusedError("other_call", str(error)) from error
    may_lease = is_new and new.question is None
    tray = living.tray_of(found.connector_id) if may_lease else None
    put = Put(
        call_id=call_id,
        is_new=is_new,
        connector_id=found.connector_id,
        tray=tray,
        leased=None if tray is None else handout.lease(tray.holder, {call_id}),
    )
    if tray is None:
        _ring(put)  # here already: the event loop has its turn later
    return put


def _ring(put: Put) -> None:
    bell.ring_connector(put.connector_id, bell.WORK, {"call": put.call_id.hex})


def _new(principal: Principal, what: Wanted, found: Target, waiter: UUID | None) -> calls.NewCall:
    """The call, with what the policy says to it. Raises RefusedError where that is no."""
    policy = policies.of_version(principal.organization_id, found.policy_version)
    now = policies.standing(policy, found.server, found.tool, what.arguments, found.definition)
    new = calls.NewCall(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        connector_id=found.connector_id,
        server=found.server,
        tool=found.tool,
        params=what.params,
        has_effects=found.has_effects,
        request_id=what.request_id,
        tool_use_id=what.tool_use_id,
        step=what.step,
        deadline_s=what.deadline_s,
        waiter=waiter,
        definition=found.definition,
        decision=now.judged.decision.value,
        policy_version=now.judged.version,
        question=_question_of(now),
    )
    if now.judged.decision is Decision.DENY:
        text = f"Not allowed by {now.judged.reason}. Do not repeat it."
        calls.deny(new, text)  # for the audit
        raise RefusedError("denied", text)
    return new


def _question_of(now: policies.Standing) -> calls.Question | None:
    if now.judged.decision is not Decision.ASK:
        return None
    return calls.Question(asked_by=Asker.ORGANIZATION, digest=now.digest, reason=now.judged.reason)
