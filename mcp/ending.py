"""How a call ends: by a result, which counts once, or by being cancelled."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Case, F, Q, Value, When

from mcp import clock, conditions, frames, prepared, questions
from mcp.conditions import Holder
from mcp.models import ToolCall
from mcp.states import FINAL, Outcome, State, Verdict
from mcp.texts import failure

MAX_RESULT_BYTES = frames.MAX_RESULT_BYTES


UNKNOWN_OUTCOME = failure(
    "Outcome unknown: the tool's server or its machine stopped while the tool ran."
    " Check what it did before you repeat it."
)
STOPPED = failure("The tool was stopped before it ended. Check what it did before you repeat it.")
TOO_LARGE = failure(f"The tool's result has more than {MAX_RESULT_BYTES} bytes. It did run.")
UNREADABLE = failure("The tool's result is not what MCP describes. It did run.")
# What no connector ever said is put into words where it is read.
UNSAID: Mapping[str, str] = {
    State.LOST: UNKNOWN_OUTCOME,
    State.EXPIRED: failure("The tool did not run: the machine did not begin it in time."),
    State.CANCELLED: failure("The call was cancelled before the tool ran."),
}


def result_of(state: str, result: str | None) -> str | None:
    """The stored result of an ended call, or one in words; None while it is open.

    With outcome `error` it is a JSON-RPC error, else a result of MCP's.
    """
    return result if result is not None else UNSAID.get(state)


@dataclass(frozen=True, slots=True)
class _Ending:
    """What a result makes of its call: a state, or another one if it was to stop."""

    state: State
    if_cancelled: State
    result: str


@dataclass(frozen=True, slots=True)
class End:
    """How a call stands, as far as whoever waits for it wants to know."""

    id: UUID
    state: str
    outcome: str
    result: str | None


def finish(
    holder: Holder, call_id: UUID, fence: int, outcome: Outcome, body: str | None
) -> Verdict:
    """Take the result of a call that its holder began. An older session may still hand one in."""
    ending = _ending(outcome, body)
    digest = hashlib.sha256(f"{outcome}\n{body or ''}".encode()).hexdigest()
    taken = _end(
        connector_id=holder.connector_id,
        organization_id=holder.organization_id,
        call_id=call_id,
        fence=fence,
        state=ending.state.value,
        if_cancelled=ending.if_cancelled.value,
        outcome=outcome,
        result=ending.result,
        digest=digest,
    )
    if taken:
        return Verdict.ACCEPTED
    call = ToolCall.objects.filter(conditions.of_holder(holder), id=call_id).first()
    if call is None:
        return Verdict.UNKNOWN
    return Verdict.DUPLICATE if is_repeated(call, fence, digest) else Verdict.CONFLICT


def conclude(
    holder: Holder, call_id: UUID, fence: int, outcome: Outcome, body: str | None
) -> tuple[Verdict, End | None]:
    """As `finish`, and what an accepted result makes of its call; None if only the row can tell."""
    verdict, ending = finish(holder, call_id, fence, outcome, body), _ending(outcome, body)
    if ending.state != ending.if_cancelled:
        return verdict, None
    return verdict, End(call_id, ending.state.value, outcome.value, ending.result)


@prepared.update
def _end(
    *,
    connector_id: UUID,
    organization_id: UUID,
    call_id: UUID,
    fence: int,
    state: str,
    if_cancelled: str,
    outcome: str,
    result: str,
    digest: str,
) -> prepared.Change:
    holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=0)
    calls = ToolCall.objects.filter(
        conditions.under_fence(call_id, fence), conditions.of_holder(holder)
    )
    return calls.filter(conditions.finishable()), {
        "state": Case(When(cancel_requested=True, then=Value(if_cancelled)), default=Value(state)),
        "outcome": outcome,
        "result": result,
        "digest": digest,
        "finished_at": clock.now(),
        "lease_until": None,
    }


def is_repeated(call: ToolCall, fence: int, digest: str) -> bool:
    """Whether this very result is the one that the call ended with."""
    return call.state in FINAL and call.fence == fence and call.digest == digest


def _ending(outcome: Outcome, body: str | None) -> _Ending:
    if outcome == Outcome.CANCELLED:
        return _Ending(State.FAILED, State.CANCELLED, STOPPED)
    if outcome == Outcome.INTERRUPTED:
        return _Ending(State.FAILED, State.FAILED, UNKNOWN_OUTCOME)
    if body is None or len(body.encode()) > MAX_RESULT_BYTES:
        return _Ending(State.FAILED, State.FAILED, UNREADABLE if body is None else TOO_LARGE)
    if outcome == Outcome.ERROR:
        return _Ending(State.FAILED, State.FAILED, body)
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return _Ending(State.FAILED, State.FAILED, UNREADABLE)
    state = State.FAILED if found.get("isError") is True else State.SUCCEEDED
    return _Ending(state, state, body)


def cancel(organization_id: UUID, call_id: UUID) -> bool:
    """End a call that waits, ask for the end of one that is held. False if it has ended."""
    at_once = conditions.cancelled_at_once()
    asked = ToolCall.objects.filter(
        conditions.is_open(), id=call_id, organization_id=organization_id
    ).update(**cancelling(at_once))
    if asked:
        questions.close_ended([call_id])
    return asked == 1


def cancelling(at_once: Q) -> dict[str, Any]:
    """The columns that a cancellation sets; it is final where `at_once` holds."""
    return {
        "cancel_requested": True,
        "state": Case(When(at_once, then=Value(State.CANCELLED.value)), default=F("state")),
        "finished_at": Case(When(at_once, then=clock.now()), default=None),
    }
