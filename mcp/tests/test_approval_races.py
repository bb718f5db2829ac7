"""Two at once at one question, or at one chain: one of them wins, on real transactions."""

from functools import partial
from uuid import UUID

import pytest
from django.db.models import Q

from accounts.tests import people
from accounts.tests.people import Person
from mcp import auditing, calls, questions
from mcp.calls import Decided, Decider, Question, UndecidedError
from mcp.models import Approval, AuditedCall, Connector, ToolCall
from mcp.states import Answer, Asker, Outcome, Source, State, Verdict
from mcp.tests import test_races
from mcp.tests.queues import DONE, begun, claimed, connector_of, row
from mcp.tests.test_races import Both

pytestmark = pytest.mark.django_db(transaction=True)
alice, both = people.alice, test_races.both
DIGEST = "a" * 64


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice, max_in_flight=16)


def asked(connector: Connector) -> UUID:
    """A call that waits for its owner."""
    holder, call = claimed(connector)
    question = Question(asked_by=Asker.MACHINE, digest=DIGEST, fence=call.fence)
    assert isinstance(calls.ask(holder, call.id, question), int)
    return call.id


def decide(connector: Connector, call_id: UUID, approve: bool) -> Answer | None:
    """What the owner says; None where it does not count."""
    decider = Decider(
        actor=f"user:{connector.user_id}",
        name="alice",
        source=Source.WEB,
        place="",
        user_id=connector.user_id,
        organizations=[connector.organization_id],
    )
    try:
        said: Decided = calls.decide(decider, Q(call_id=call_id), digest=DIGEST, approve=approve)
    except UndecidedError:
        return None
    return said.answer


def test_it_counts_one_answer_of_several(laptop: Connector, both: Both) -> None:
    for _ in range(test_races.ROUNDS):
        call_id = asked(laptop)
        said = both(*[partial(decide, laptop, call_id, bool(n % 2)) for n in range(4)])
        (counted,) = [answer for answer in said if answer is not None]
        assert Approval.objects.get(call_id=call_id).state == counted
        wanted = State.QUEUED if counted is Answer.APPROVED else State.FAILED
        assert row(call_id).state == wanted
        calls.cancel(laptop.organization_id, call_id)


def test_it_approves_or_cancels(laptop: Connector, both: Both) -> None:
    for _ in range(test_races.ROUNDS):
        call_id = asked(laptop)
        cancel = partial(calls.cancel, laptop.organization_id, call_id)
        answer, _ = both(partial(decide, laptop, call_id, True), cancel)
        # Either it was cancelled first, or it was approved and then cancelled in the queue.
        assert row(call_id).state == State.CANCELLED
        wanted = Answer.WITHDRAWN if answer is None else Answer.APPROVED
        assert Approval.objects.get(call_id=call_id).state == wanted


def test_it_approves_or_expires(
    laptop: Connector, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "APPROVAL_S", 0.05)
    for _ in range(test_races.ROUNDS):
        call_id = asked(laptop)
        answer, _ = both(partial(decide, laptop, call_id, True), calls.reap)
        while row(call_id).state == State.APPROVAL:  # both were early, or the answer was late
            calls.reap()
        approved = Approval.objects.get(call_id=call_id).state == Answer.APPROVED
        assert (answer is Answer.APPROVED) is approved
        assert (row(call_id).state == State.QUEUED) is approved
        calls.cancel(laptop.organization_id, call_id)


def test_it_writes_one_chain_however_many_write(laptop: Connector, both: Both) -> None:
    for _ in range(test_races.ROUNDS):
        for _ in range(3):
            holder, call = begun(laptop)
            verdict = calls.finish(holder, call.id, call.fence, Outcome.DONE, DONE)
            assert verdict is Verdict.ACCEPTED
        # Not how many each of them wrote: a gateway that other tests have started may be faster.
        both(*[auditing.write] * 4)
        assert not ToolCall.objects.filter(audited=False).exists()
    numbers = [each.number for each in AuditedCall.objects.order_by("number")]
    assert numbers == list(range(1, 3 * test_races.ROUNDS + 1))
    assert auditing.first_broken(laptop.organization_id) is None
