"""The questions that persons are asked about calls: how each is put, and closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from billing import ledger
from mcp import clock, conditions, policies, texts
from mcp.models import Approval, ToolCall
from mcp.states import Answer, Asker, Decision, State

APPROVAL_S: float = settings.MCP_APPROVAL_S
DENIED = texts.failure(
    "The organization's policy does not allow this call, so the tool did not run. Do not repeat it."
)
CHANGED = "The tool or the policy has changed since this call was approved."


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is to say yes or no to."""

    asked_by: Asker
    digest: str
    reason: str = ""
    here_only: bool = False
    fence: int = 0


def waiting(asked_by: Asker) -> dict[str, Any]:
    """The columns of a call that waits for a person from now on."""
    return {
        "state": State.APPROVAL,
        "lease_until": None,
        "deadline": clock.after(APPROVAL_S),
        "asked_by": asked_by,
        "approval": "",
    }


def put(call: ToolCall, question: Question) -> None:
    """Ask. In the transaction in which the call comes to wait."""
    Approval.objects.create(
        id=ledger.new_id(),
        organization_id=call.organization_id,
        user_id=call.user_id,
        connector_id=call.connector_id,
        call_id=call.id,
        asked_by=question.asked_by,
        fence=question.fence,
        digest=question.digest,
        reason=question.reason[:500],
        here_only=question.here_only,
        expires_at=clock.after(APPROVAL_S),
    )


def close(calls: Sequence[UUID], answer: Answer) -> None:
    """Nobody needs to answer any more."""
    Approval.objects.filter(call_id__in=calls, state=Answer.PENDING).update(
        state=answer, decided_at=clock.now()
    )


def close_ended(calls: Sequence[UUID]) -> None:
    """Nobody needs to answer for those of the calls that have ended."""
    Approval.objects.filter(
        call_id__in=calls, call__finished_at__isnull=False, state=Answer.PENDING
    ).update(state=Answer.WITHDRAWN, decided_at=clock.now())


def source_of(call_id: UUID, digest: str) -> str:
    """Where the approval was given that a call was handed out with."""
    said = Approval.objects.filter(call_id=call_id, digest=digest, state=Answer.APPROVED)
    return said.order_by("-decided_at").values_list("source", flat=True).first() or ""


def is_as_approved(call_id: UUID) -> bool:
    """Whether the organization allows a call, or has approved this very one.

    If not, it is taken back from who just leased it, and asked about, or ends.
    """
    call = ToolCall.objects.get(id=call_id)
    now = policies.standing_of(call)
    if now.judged.decision is Decision.ALLOW:
        return True
    if conditions.is_same(approved(call_id), now.digest):
        return True
    leased = ToolCall.objects.filter(id=call_id, state=State.LEASED)
    if leased.update(**waiting(Asker.ORGANIZATION)):
        if now.judged.decision is Decision.DENY:
            ToolCall.objects.filter(id=call_id, state=State.APPROVAL).update(**failed(DENIED))
        else:
            put(call, anew(now))
    return False


def approved(call_id: UUID) -> str:
    """The digest that a person approved for the organization; "" where nobody has."""
    said = Approval.objects.filter(
        call_id=call_id, asked_by=Asker.ORGANIZATION, state=Answer.APPROVED
    )
    return said.order_by("-decided_at").values_list("digest", flat=True).first() or ""


def failed(result: str) -> dict[str, Any]:
    """The columns of a call that ends without having begun."""
    return {"state": State.FAILED, "result": result, "finished_at": clock.now()}


def anew(now: policies.Standing) -> Question:
    """The question about a call that is not the approved one any more."""
    return Question(asked_by=Asker.ORGANIZATION, digest=now.digest, reason=CHANGED)
