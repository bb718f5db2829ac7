"""The door to the users' tools: what is offered, run it, look at it, stop it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from accounts.principal import Principal
from billing import workers
from mcp import bell, calls, handout, lastwords, living, offers, policies, waiting
from mcp.models import ToolCall
from mcp.offers import Offered, RefusedError
from mcp.states import FINAL, Asker, Decision, Outcome, State
from mcp.threads import off_loop
from mcp.waiting import Told

__all__ = ["CallView", "Ended", "Offered", "RefusedError", "Told"]

SLACK_S = 15.0  # after a call's deadline and its grace: the reaper comes by each second
ID_CHARS = 64  # the columns' width


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended. `result` is an MCP CallToolResult, also where no machine gave one."""

    call_id: UUID
    state: State
    is_error: bool
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as its owner sees it."""

    row: ToolCall
    ended: Ended | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Put:
    call_id: UUID
    is_new: bool
    connector_id: UUID
    tray: handout.Tray | None = None  # where a session waits for it here
    leased: handout.Leased | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    server: str
    tool: str
    arguments: Mapping[str, Any]
    params: str
    request_id: str
    tool_use_id: str
    deadline_s: float


async def offered(principal: Principal) -> list[Offered]:
    """Every tool that this user's machines offer now. Raises accounts.reads.DatabaseAwayError."""
    return await _all_offered(principal)


async def run(
    principal: Principal,
    *,
    server: str,
    tool: str,
    arguments: Mapping[str, Any],
    request_id: str,
    tool_use_id: str,
    deadline_s: float = calls.DEADLINE_S,
    told: Told | None = None,
) -> Ended:
    """Run a tool on the user's machine and wait for its end.

    Whoever cancels this cancels the call. Raises RefusedError, accounts.reads.DatabaseAwayError.
    """
    wanted = _wanted(server, tool, arguments, (request_id, tool_use_id), deadline_s)
    putting = asyncio.ensure_future(_put_in(principal, wanted, workers.OWN_ID))
    try:
        put = await asyncio.shield(putting)  # the row may be there though we never hear of it
        row = await _end_of(put, deadline_s, told)
    except BaseException as error:
        # Left by its caller, or by a `told` that fails: in both cases nobody hears the result.
        if not isinstance(error, RefusedError):
            await lastwords.said(_take_back(principal, putting))
        raise
    # The reaper ends every call; where nothing runs any more, nobody knows.
    return _ended_as(put.call_id, State.LOST, None) if row is None else _ended(row)


async def _end_of(put: _Put, deadline_s: float, told: Told | None) -> calls.End | None:
    """Its end. While a person decides its deadline moves, and whoever waits goes on waiting."""
    left_s = deadline_s
    is_new = put.is_new
    while True:
        within_s = left_s + calls.GRACE_S + SLACK_S
        row = await waiting.for_end(put.call_id, within_s, told, is_new=is_new)
        if row is not None:
            return row
        is_new = False
        left_s = await waiting.left_s(put.call_id)
        if left_s + calls.GRACE_S + SLACK_S <= 0:
            return None


async def submit(
    principal: Principal,
    *,
    server: str,
    tool: str,
    arguments: Mapping[str, Any],
    request_id: str,
    tool_use_id: str,
    deadline_s: float = calls.DEADLINE_S,
) -> UUID:
    """Put a call that nobody waits for into the queue. Raises as `run` does."""
    wanted = _wanted(server, tool, arguments, (request_id, tool_use_id), deadline_s)
    return (await asyncio.shield(_put_in(principal, wanted, None))).call_id


async def wait(
    principal: Principal, call_id: UUID, within_s: float, told: Told | None = None
) -> CallView | None:
    """The call once it is final, or as it is after that time; None where the user has none."""
    if await look(principal, call_id) is None:
        return None
    await waiting.for_end(call_id, within_s, told)
    return await look(principal, call_id)


async def look(principal: Principal, call_id: UUID) -> CallView | None:
    """One of this user's calls."""
    row = await _read(principal, call_id)
    if row is None:
        return None
    return CallView(row=row, ended=_ended(row) if row.state in FINAL else None)


async def cancel(principal: Principal, call_id: UUID) -> bool:
    """Stop one of this user's calls. False: there is none, or it has ended."""
    row = await _read(principal, call_id)
    if row is None or not await _cancel(principal.organization_id, call_id):
        return False
    bell.ring_connector(row.connector_id)
    bell.ring_call(call_id)
    return True


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


async def _put_in(principal: Principal, wanted: _Wanted, waiter: UUID | None) -> _Put:
    """Put a call into the queue, and see to it that its machine hears of it.

    Not to be cancelled: it may have leased other calls than its own.
    """
    put = await _put(principal, wanted, waiter)
    if put.tray is not None and put.leased is not None:
        if put.tray.lay(put.leased):
            return put
        await lastwords.said(handout.hand_back(put.tray.holder, put.leased.claimed))
    bell.ring_connector(put.connector_id)
    return put


def _wanted(
    server: str, tool: str, arguments: Mapping[str, Any], ids: tuple[str, str], deadline_s: float
) -> _Wanted:
    """The call, looked at as far as no table is needed. Raises RefusedError."""
    params = _params(tool, arguments)
    if not 0 < deadline_s <= calls.MAX_DEADLINE_S:
        text = f"A deadline is more than 0 and at most {calls.MAX_DEADLINE_S:.0f} seconds."
        raise RefusedError("bad_deadline", text)
    if any(not 0 < len(one) <= ID_CHARS or "\0" in one for one in ids):
        text = f"The ids of a call have 1 to {ID_CHARS} characters."
        raise RefusedError("bad_ids", text)
    return _Wanted(
        server=server,
        tool=tool,
        arguments=arguments,
        params=params,
        request_id=ids[0],
        tool_use_id=ids[1],
        deadline_s=deadline_s,
    )


@off_loop
def _put(principal: Principal, wanted: _Wanted, waiter: UUID | None) -> _Put:
    found = offers.find(principal, wanted.server, wanted.tool)
    now = policies.standing(
        principal.organization_id, found.server, found.tool, wanted.arguments, found.definition
    )
    new = calls.NewCall(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        connector_id=found.connector_id,
        server=found.server,
        tool=found.tool,
        params=wanted.params,
        has_effects=found.has_effects,
        request_id=wanted.request_id,
        tool_use_id=wanted.tool_use_id,
        deadline_s=wanted.deadline_s,
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
    try:
        call_id, is_new = calls.enqueue_or_find(new)
    except calls.QueueFullError as error:
        raise RefusedError("queue_full", str(error)) from error
    except calls.OtherCallError as error:
        raise RefusedError("other_call", str(error)) from error
    is_due = is_new and new.question is None
    tray = living.tray_of(found.connector_id) if is_due else None
    return _Put(
        call_id=call_id,
        is_new=is_new,
        connector_id=found.connector_id,
        tray=tray,
        leased=None if tray is None else handout.lease_for(tray, call_id),
    )


def _question_of(now: policies.Standing) -> calls.Question | None:
    if now.judged.decision is not Decision.ASK:
        return None
    return calls.Question(asked_by=Asker.ORGANIZATION, digest=now.digest, reason=now.judged.reason)


async def _take_back(principal: Principal, putting: asyncio.Future[_Put]) -> None:
    put = await putting
    if bell.current().is_waited_for(put.call_id):
        return  # somebody asked again with the same ids, and stays
    if await _cancel(principal.organization_id, put.call_id):
        bell.ring_connector(put.connector_id)


def _ended(row: ToolCall | calls.End) -> Ended:
    result = row.result
    if row.outcome == Outcome.ERROR and result is not None:
        result = calls.failure(_message_of(json.loads(result)))
    return _ended_as(row.id, State(row.state), result)


def _ended_as(call_id: UUID, state: State, result: str | None) -> Ended:
    words = json.loads(calls.result_of(state, result) or calls.failure(f"It is {state}."))
    is_error = state != State.SUCCEEDED
    return Ended(call_id=call_id, state=state, is_error=is_error, result=words)


def _message_of(error: dict[str, Any]) -> str:
    """What a JSON-RPC error says, or what stands in its place: `failure` of the queue's own."""
    if "message" in error:
        return str(error["message"])
    return "\n".join(str(part.get("text", "")) for part in error.get("content", []))


@off_loop
def _read(principal: Principal, call_id: UUID) -> ToolCall | None:
    return ToolCall.objects.filter(
        id=call_id, organization_id=principal.organization_id, user_id=principal.user_id
    ).first()


_all_offered = off_loop(offers.offered)
_cancel = off_loop(calls.cancel)
