"""A person's approval: the machine asks for it, somebody gives or refuses it, once.

As all verbs of the queue: sync, by the database's clock, silent, and one UPDATE that may lose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from mcp import clock, conditions, holding, policies, questions, texts
from mcp.conditions import Decider, Holder
from mcp.holding import Denial
from mcp.models import Approval, ToolCall
from mcp.questions import Question
from mcp.states import Answer, Asker, Decision, Source, State

REFUSED = texts.failure(
    "A person refused this call, so the tool did not run. Do not repeat it: ask them what they want"
    " instead."
)
UNANSWERED = texts.failure(
    f"Nobody approved this call within {questions.APPROVAL_S:.0f} seconds, so the tool did not run."
    " Tell the user that it needs their approval, and ask again when they are there."
)


class UndecidedError(Exception):
    """The answer does not count. `code` names why, the text is for a person."""

    def __init__(self, code: str, text: str, answer: Answer | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.answer = answer  # what became of the question, where it was another one's answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An answer that counts, and who waits for it."""

    approval_id: UUID
    call_id: UUID
    connector_id: UUID
    answer: Answer


def ask(holder: Holder, call_id: UUID, question: Question) -> int | Answer | Denial:
    """Give a call that was not begun to a person: for so many milliseconds it waits.

    Asked again, what became of the question. A Denial where the call is not the holder's. Raises
    SupersededError.
    """
    mine = ToolCall.objects.filter(
        conditions.under_fence(call_id, question.fence),
        conditions.of_holder(holder),
        conditions.of_newest(holder),
    )
    with transaction.atomic():
        if mine.filter(conditions.askable()).update(**questions.waiting(Asker.MACHINE)):
            questions.put(mine.get(), question)
            return int(questions.APPROVAL_S * 1000)
    holding.require_newest(holder)
    asked = Approval.objects.filter(
        conditions.of_holder(holder), call_id=call_id, digest=question.digest, fence=question.fence
    )
    known: Any = asked.annotate(now=clock.now()).order_by("-created_at").first()
    if known is None:
        theirs = ToolCall.objects.filter(conditions.of_holder(holder), id=call_id)
        return holding.why_not(theirs.annotate(now=clock.now()).first(), question.fence)
    if known.state != Answer.PENDING:
        return Answer(known.state)
    return holding.ms_between(known.now, known.expires_at)


def decide(decider: Decider, which: Q, *, digest: str, approve: bool) -> Decided:
    """Take what a person says to a question that they were shown. Raises UndecidedError."""
    with transaction.atomic():
        found = _asked(decider, which)
        _check(decider, found, digest, approve)
        if not (approve and _is_other(found)):
            return _answered(decider, found, approve)
    raise _refusal_of_changed(found)  # what was written about it stays


def _asked(decider: Decider, which: Q) -> Approval:
    shown = Approval.objects.filter(conditions.may_decide(decider), which)
    found = shown.select_related("call").order_by("-created_at", "-id").first()
    if found is None:
        raise UndecidedError("unknown", "There is no such approval for you to decide.")
    return found


def _check(decider: Decider, found: Approval, digest: str, approve: bool) -> None:
    if found.digest != digest:
        text = "This is not the call that you were shown. Look at it again."
        raise UndecidedError("changed", text)
    if found.state != Answer.PENDING:
        raise _late(Answer(found.state))
    if approve and found.here_only and decider.source is not Source.TERMINAL:
        text = "Its machine takes an approval only in its own terminal."
        raise UndecidedError("terminal_only", text)


def _late(answer: Answer) -> UndecidedError:
    words: Mapping[Answer, tuple[str, str]] = {
        Answer.EXPIRED: ("expired", "Its time is over. The call did not run."),
        Answer.WITHDRAWN: ("withdrawn", "The call was cancelled, or asked about anew."),
    }
    code, text = words.get(answer, ("used", f"It was {answer.value} already."))
    return UndecidedError(code, text, answer)


def _answered(decider: Decider, found: Approval, approve: bool) -> Decided:
    # The call first, as everybody who changes both, or two could wait for each other in a circle.
    calls = ToolCall.objects.filter(conditions.decidable(), id=found.call_id)
    changes = _approved(found.digest) if approve else questions.failed(REFUSED)
    if not calls.update(**changes):
        raise _late(Answer.EXPIRED)
    answer = Answer.APPROVED if approve else Answer.REFUSED
    if not Approval.objects.filter(id=found.id, state=Answer.PENDING).update(
        state=answer,
        decided_at=clock.now(),
        decided_by=decider.actor,
        decider=decider.name,
        source=decider.source,
        place=decider.place,
    ):
        raise _late(Answer.WITHDRAWN)
    return Decided(
        approval_id=found.id,
        call_id=found.call_id,
        connector_id=found.connector_id,
        answer=answer,
    )


def _approved(digest: str) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "approval": digest,
        "deadline": clock.now() + F("lasts"),  # while a person thought, its time did not run
    }


def _is_other(found: Approval) -> bool:
    """Whether the organization would ask something else now; then it does, or denies."""
    now = policies.standing_of(found.call)
    is_theirs = found.asked_by == Asker.ORGANIZATION
    approved = found.digest if is_theirs else questions.approved(found.call_id)
    if now.judged.decision is Decision.ALLOW or conditions.is_same(approved, now.digest):
        return False
    is_denied = now.judged.decision is Decision.DENY
    denied, asked = questions.failed(questions.DENIED), questions.waiting(Asker.ORGANIZATION)
    changes = denied if is_denied else asked
    if ToolCall.objects.filter(conditions.decidable(), id=found.call_id).update(**changes):
        questions.close([found.call_id], Answer.WITHDRAWN)
        if not is_denied:
            questions.put(found.call, questions.anew(now))
    return True


def _refusal_of_changed(found: Approval) -> UndecidedError:
    if ToolCall.objects.filter(id=found.call_id, finished_at__isnull=False).exists():
        text = "The organization's policy does not allow this call any more."
        return UndecidedError("denied", text, Answer.WITHDRAWN)
    text = "The tool or the policy has changed since. It is asked about anew: look at it again."
    return UndecidedError("changed", text, Answer.WITHDRAWN)
