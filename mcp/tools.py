"""The door to the users' tools: what is offered, run it, look at it, stop it."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.principal import Principal
from billing import workers
from mcp import bell, calls, lastwords, offers, putting, spans, waiting
from mcp.models import ToolCall
from mcp.offers import Offered, RefusedError
from mcp.putting import Put
from mcp.states import FINAL, Outcome, State
from mcp.threads import off_loop
from mcp.waiting import Told

__all__ = ["CallView", "Ended", "Offered", "RefusedError", "Told"]

SLACK_S = 15.0  # after a call's deadline and its grace: the reaper comes by each second


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


async def offered(principal: Principal) -> list[Offered]:
    """Every tool that this user's machines offer now. Raises accounts.reads.DatabaseAwayError."""
    return await _all_offered(principal)


async def offered_by(principal: Principal, server: str, machine: str = "") -> list[Offered]:
    """Every tool of one server. Raises RefusedError, accounts.reads.DatabaseAwayError."""
    return await _offered_by(principal, server, machine)


async def called(principal: Principal, request_id: str) -> bool:
    """Whether any call of this request is there. Raises accounts.reads.DatabaseAwayError."""
    return await _called(principal, request_id)


async def run(
    principal: Principal,
    *,
    server: str,
    tool: str,
    arguments: Mapping[str, Any],
    request_id: str,
    tool_use_id: str,
    deadline_s: float = calls.DEADLINE_S,
    machine: str = "",
    step: UUID | None = None,
    told: Told | None = None,
) -> Ended:
    """Run a tool on the user's machine, the one of this name if any is said, and wait for its end.

    `step` is the row of the ledger whose answer calls it, where one does.
    Whoever cancels this cancels the call. Raises RefusedError, accounts.reads.DatabaseAwayError.
    """
    ids = (request_id, tool_use_id)
    wanted = putting.wanted(server, tool, arguments, ids, deadline_s, machine, step)
    began = time.monotonic()
    going_in = asyncio.ensure_future(putting.put_in(principal, wanted, workers.OWN_ID))
    try:
        put = await asyncio.shield(going_in)  # the row may be there though we never hear of it
        row = await _end_of(put, deadline_s, told)
    except BaseException as error:
        # Left by its caller, or by a `told` that fails: in both cases nobody hears the result.
        if not isinstance(error, RefusedError):
            await lastwords.said(_take_back(principal, going_in))
        raise
    # The reaper ends every call; where nothing runs any more, nobody knows.
    ended = _ended_as(put.call_id, State.LOST, None) if row is None else _ended(row)
    spans.ended(
        put.call_id,
        ended.state,
        server=server,
        tool=tool,
        seconds=time.monotonic() - began,
        step=step,
        request_id=request_id,
        is_error=ended.is_error,
    )
    return ended


async def _end_of(put: Put, deadline_s: float, told: Told | None) -> calls.End | None:
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
    wanted = putting.wanted(server, tool, arguments, (request_id, tool_use_id), deadline_s)
    return (await asyncio.shield(putting.put_in(principal, wanted, None))).call_id


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


async def _take_back(principal: Principal, going_in: asyncio.Future[Put]) -> None:
    put = await going_in
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


@off_loop
def _called(principal: Principal, request_id: str) -> bool:
    return ToolCall.objects.filter(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        request_id=request_id,
    ).exists()


_all_offered = off_loop(offers.offered)
_offered_by = off_loop(offers.of_server)
_cancel = off_loop(calls.cancel)
