"""Random lives of the queue, each step checked against what must always hold.

I1 no call of another's; I2 none handed out at its deadline; I3 effects once; I4 one result; I5 no
old fence; I6 results of who began; I7 the end is the end; I8 what began is not undone; I9 no more
in flight than fit; I11 every call ends; I12 no start after a cancellation, the deadline or the
lease; I13 only the holder begins; I14 cancelling is a request; I15 a hand-out raises the fence;
I18 the events tell the state; I19 what was asked about begins by its approval; I20 an approval is
used once; I21 only who may answers, and while it is open; I22 what was approved is what runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcp import calls
from mcp.calls import Held, Holder
from mcp.models import Approval, Connector, ToolCall, ToolCallEvent
from mcp.states import FINAL, HELD, NEXT, Answer, Asker, Outcome, State, Verdict
from mcp.tests.queues import DONE, Clock, holder_of, new_call

Claim = Callable[[Holder, int], list[calls.Claimed]]
OTHER = '{"content":[],"isError":true}'
OUTCOMES = [(Outcome.DONE, DONE), (Outcome.DONE, OTHER), (Outcome.INTERRUPTED, None)]
NOT_BEGUN = {State.EXPIRED, State.QUEUED, State.APPROVAL, State.LEASED}
# By then every call of the machine has ended.
BEYOND_S = calls.APPROVAL_S + 60.0 + calls.GRACE_S + calls.LEASE_S


@dataclass(slots=True)
class Asked:
    """A question about a call, as the outside saw it put."""

    digest: str
    by: Asker
    until: datetime
    fence: int = 0


@dataclass(slots=True)
class Life:
    """What the outside saw of a call."""

    connector: Connector
    effects: bool
    deadline: datetime
    fence: int = 0  # the last that it was handed out under
    lease_until: datetime | None = None
    started: list[int] = field(default_factory=list)  # the fences under which it was begun
    cancelled: bool = False
    accepted: tuple[int, Outcome, str | None] | None = None
    final: tuple[Any, ...] | None = None  # the row as it ended
    lasts: timedelta = timedelta()
    asked: list[Asked] = field(default_factory=list)  # the last is the one that counts
    approved: str = ""  # the digest under which it may begin, until it has
    spent: bool = False  # it has begun by its approval
    of_policy: str = ""  # the digest that the organization's policy wanted approved, once it was


class _UndoneError(Exception):
    """Ends an example."""


class Honest(RuleBasedStateMachine):
    """Connectors that do as they should, at the verbs of the real queue."""

    connectors: list[Connector]  # the first two of one organization, the third of another
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.lives: dict[UUID, Life] = {}
        self.seen: list[Held] = []  # everything that was ever handed out
        self._undo = transaction.atomic()
        self._undo.__enter__()
        self._whole = True

    def teardown(self) -> None:
        """I11: with all connectors gone every call ends."""
        try:
            if self._whole:
                self.clock.moves(BEYOND_S)
                calls.reap()
                left = ToolCall.objects.filter(finished_at__isnull=True)
                assert not left.exists(), "I11 a call never ends"
        finally:
            self._undo.__exit__(_UndoneError, _UndoneError(), None)

    def _now(self) -> datetime:
        return self.clock.moment

    def _state(self, call_id: UUID) -> str:
        return str(ToolCall.objects.values_list("state", flat=True).get(id=call_id))

    def _doing(self, verb: Callable[[], Any]) -> Any:
        """What the database refuses it must never have been asked."""
        self._whole = False
        found = verb()
        self._whole = True
        return found

    # What honest ones do.

    @rule(of=st.integers(0, 2), effects=st.booleans(), deadline_s=st.sampled_from([5, 20, 60]))
    def enqueue(self, of: int, effects: bool, deadline_s: int) -> None:
        connector = self.connectors[of]
        new = new_call(connector, has_effects=effects, deadline_s=deadline_s)
        call_id = calls.enqueue(new)
        assert calls.enqueue(new) == call_id, "the same ids are the same call"
        self._lived(connector, call_id, effects, deadline_s)

    def _lived(self, connector: Connector, call_id: UUID, effects: bool, deadline_s: int) -> Life:
        life = self.lives[call_id] = Life(
            connector=connector,
            effects=effects,
            deadline=ToolCall.objects.get(id=call_id).deadline,
            lasts=timedelta(seconds=deadline_s),
        )
        return life

    @rule(seconds=st.sampled_from([1, 5, 15, 31]))
    def time_passes(self, seconds: int) -> None:
        self.clock.moves(seconds)

    @rule()
    def reap(self) -> None:
        self._doing(calls.reap)

    @rule(of=st.integers(0, 2), most=st.integers(1, 3), begun=st.booleans())
    def claim(self, of: int, most: int, begun: bool) -> None:
        self._claim(self.connectors[of], most, calls.claim_begun if begun else calls.claim)

    def _claim(self, connector: Connector, most: int, claim: Claim = calls.claim) -> None:
        for call in self._doing(lambda: claim(holder_of(connector), most)):
            life = self.lives[call.id]
            assert life.connector == connector, "I1 a call of another connector or tenant"
            assert life.deadline > self._now(), "I2 handed out at its deadline"
            assert call.fence > life.fence, "I15 a hand-out raises the fence"
            assert call.approval == life.approved, "I19 handed out with another approval"
            self._still_approved(call.id)
            life.fence, life.lease_until = call.fence, self._lease()
            self.seen.append((call.id, call.fence))
            if call.begun:
                assert not life.effects, "I3 effects that nobody asked to begin"
                life.started.append(call.fence)

    def _still_approved(self, call_id: UUID) -> None:
        """A call of an organization that asks is handed out only as what was approved."""

    def _handed_out(self, of: int, deadline_s: int) -> UUID:
        """A call that this connector holds and has not begun; all before it has ended."""
        self.clock.moves(BEYOND_S)
        self.reap()
        self.enqueue(of, True, deadline_s)
        self._claim(self.connectors[of], 1)
        return list(self.lives)[-1]

    def _lease(self) -> datetime:
        return self._now() + timedelta(seconds=calls.LEASE_S)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        call_id, fence = data.draw(st.sampled_from(self.seen))
        self._start(holder_of(self.lives[call_id].connector), call_id, fence)

    def _start(self, holder: Holder, call_id: UUID, fence: int) -> None:
        life, before = self.lives[call_id], self._state(call_id)
        if isinstance(self._doing(lambda: calls.start(holder, call_id, fence)), calls.Denial):
            return
        assert holder.connector_id == life.connector.id, "I13 begun by another"
        assert fence == life.fence, "I13 begun under an old fence"
        is_again = before == State.RUNNING and not life.effects  # it is only told once more
        assert before == State.LEASED or is_again, "I13 begun without a lease"
        assert life.deadline > self._now(), "I12 begun after its deadline"
        assert life.lease_until and life.lease_until > self._now(), "I12 begun after its lease"
        assert not life.cancelled, "I12 begun after it was cancelled"
        assert not (life.effects and life.started), "I3 effects twice"
        if is_again:
            assert not life.asked, "I20 an approval for two beginnings"
            return
        if life.asked:
            assert life.approved == life.asked[-1].digest, "I19 begun without its approval"
            life.approved, life.spent = "", True
        life.started.append(fence)
        life.lease_until = self._lease()

    @rule(of=st.integers(0, 2))
    def renew(self, of: int) -> None:
        connector = self.connectors[of]
        renewal = self._doing(lambda: calls.renew(holder_of(connector), self.seen[-16:]))
        for call_id, fence in renewal.held:
            life = self.lives[call_id]
            assert (life.connector, life.fence) == (connector, fence), "I5 an old fence is renewed"
            assert life.lease_until and life.lease_until > self._now(), "a lease that was over"
            assert ((call_id, fence) in renewal.cancel) is life.cancelled
            life.lease_until = self._lease()

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), answer=st.sampled_from(OUTCOMES))
    def finish(self, data: st.DataObject, answer: tuple[Outcome, str | None]) -> None:
        call_id, fence = data.draw(st.sampled_from(self.seen))
        self._finish(holder_of(self.lives[call_id].connector), call_id, fence, answer)

    def _finish(
        self, holder: Holder, call_id: UUID, fence: int, answer: tuple[Outcome, str | None]
    ) -> None:
        life, before = self.lives[call_id], self._state(call_id)
        verdict = self._doing(lambda: calls.finish(holder, call_id, fence, *answer))
        if verdict == Verdict.ACCEPTED:
            assert life.accepted is None, "I4 two results"
            assert fence == life.fence, "I5 an old fence"
            assert fence in life.started, "I6 a result of who did not begin"
            assert holder.connector_id == life.connector.id, "I6 a result of another"
            assert before not in FINAL, "I7 a result after the end"
            life.accepted = (fence, *answer)
        else:
            is_again = life.accepted == (fence, *answer)
            assert (verdict == Verdict.DUPLICATE) is (
                is_again and holder.connector_id == life.connector.id
            ), "a duplicate is the very same result"

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self._release(*data.draw(st.sampled_from(self.seen)))

    def _release(self, call_id: UUID, fence: int) -> None:
        life, before = self.lives[call_id], self._state(call_id)
        if self._doing(lambda: calls.release(holder_of(life.connector), call_id, fence)):
            is_harmless = before == State.RUNNING and not life.effects
            assert before == State.LEASED or is_harmless, "released what has effects"
            assert fence == life.fence, "released under an old fence"

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._cancel(data.draw(st.sampled_from(list(self.lives))))

    def _cancel(self, call_id: UUID) -> None:
        life, before = self.lives[call_id], self._state(call_id)
        done = self._doing(lambda: calls.cancel(life.connector.organization_id, call_id))
        assert done is (before not in FINAL)
        life.cancelled |= done
        wanted = State.CANCELLED if before in {State.QUEUED, State.APPROVAL} else before
        assert self._state(call_id) == wanted, "I14 cancelling is a request"

    # What always holds.

    @invariant()
    def nothing_is_wrong(self) -> None:
        in_flight = dict.fromkeys((each.id for each in self.connectors), 0)
        states: dict[UUID, list[str]] = {}
        for call_id, state in ToolCallEvent.objects.order_by("id").values_list("call", "state"):
            states.setdefault(call_id, []).append(state)
        for call in ToolCall.objects.all():
            life, state = self.lives[call.id], State(call.state)
            check_end(life, call)
            if life.effects and life.started:
                assert state not in NOT_BEGUN, "I8 begun, undone"
            assert not (life.spent and state in NOT_BEGUN), "I20 an approval for two beginnings"
            in_flight[call.connector_id] += state in HELD
            events = [State(each) for each in states[call.id]]
            assert events[-1] == state, "I18 events end elsewhere"
            assert events[0] in {State.QUEUED, State.APPROVAL}, "I18 events begin elsewhere"
            steps = pairwise(events)
            assert all(new in NEXT[old] for old, new in steps), "I18 no such step"
        check_questions(self.lives)
        for each in self.connectors:
            assert in_flight[each.id] <= each.max_in_flight, "I9 too many in flight"


def check_end(life: Life, call: ToolCall) -> None:
    """I7: what has ended stays as it was."""
    now = (call.state, call.fence, call.result, call.finished_at)
    assert life.final in {None, now}, "I7 a final call changed"
    if call.state in FINAL:
        life.final = now


def check_questions(lives: Mapping[UUID, Life]) -> None:
    """I21: a question is open exactly while its call waits for the answer."""
    waiting = ToolCall.objects.filter(state=State.APPROVAL).values_list("id", flat=True)
    pending = Approval.objects.filter(state=Answer.PENDING).values_list("call_id", "digest")
    shown = {call_id: lives[call_id].asked[-1].digest for call_id in waiting}
    assert dict(pending) == shown, "I21 open questions are those of the calls that wait"
