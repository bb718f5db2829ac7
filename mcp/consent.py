"""Decide about a call that waits for a person, and have everybody hear of it who should."""

from uuid import UUID

from django.db.models import Q

from mcp import bell, calls
from mcp.calls import Decided, Decider
from mcp.states import Answer
from mcp.threads import off_loop


async def decide(decider: Decider, which: Q, *, digest: str, approve: bool) -> Decided:
    """As `calls.decide`. Raises calls.UndecidedError, accounts.reads.DatabaseAwayError."""
    decided = await _decide(decider, which, digest=digest, approve=approve)
    tell(decided.connector_id, decided.call_id, decided.answer)
    return decided


def tell(connector_id: UUID, call_id: UUID, answer: Answer) -> None:
    """The machine is handed the call, or takes its prompt away; who waits hears of the end."""
    bell.ring_connector(connector_id)
    if answer is not Answer.APPROVED:
        bell.ring_call(call_id)


_decide = off_loop(calls.decide)
