"""Lives of the queue in which a person is asked: anybody, late, or shown old news."""

import uuid
from typing import Any
from uuid import UUID

from django.db.models import Q
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mcp import calls, policies
from mcp.calls import Decider, Holder, Question, UndecidedError
from mcp.models import Connector, McpServer, McpTool, PolicyVersion, ToolCall
from mcp.states import Answer, Asker, Decision, Source, State
from mcp.tests.queue_machine import Asked, Claim, Honest
from mcp.tests.queues import holder_of, new_call

SERVER, TOOL = "files", "write"


class ConsentMachine(Honest):
    """Connectors and persons, honest and not; the first two connectors are of different persons."""

    def _person(self, of: int, at_terminal: bool = False) -> Decider:
        connector = self.connectors[of]
        return Decider(
            actor=f"user:{connector.user_id}",
            name="somebody",
            source=Source.TERMINAL if at_terminal else Source.WEB,
            place="",
            user_id=connector.user_id,
            organizations=[connector.organization_id],
            holder=holder_of(connector) if at_terminal else None,
        )

    # The machine asks.

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), digest=st.sampled_from("ab"))
    def ask(self, data: st.DataObject, digest: str) -> None:
        call_id, fence = data.draw(st.sampled_from(self.seen))
        self._ask(holder_of(self.lives[call_id].connector), call_id, fence, digest * 64)

    def _ask(self, holder: Holder, call_id: UUID, fence: int, digest: str) -> None:
        life, before = self.lives[call_id], self._state(call_id)
        question = Question(asked_by=Asker.MACHINE, digest=digest, fence=fence)
        said = self._doing(lambda: calls.ask(holder, call_id, question))
        if self._state(call_id) == before:
            known = [(each.digest, each.fence) for each in life.asked]
            is_again = holder.connector_id == life.connector.id and (digest, fence) in known
            assert isinstance(said, calls.Denial) is not is_again, "asked again, the same answer"
            return
        is_harmless = before == State.RUNNING and not life.effects and not life.asked
        assert is_harmless or before == State.LEASED, "I20 asked about what has begun"
        assert fence == life.fence, "I13 asked by who does not hold it"
        assert holder.connector_id == life.connector.id, "I13 asked by another"
        assert not life.cancelled, "I12 asked after it was cancelled"
        self._waits(call_id, Asked(digest, Asker.MACHINE, self._until(call_id), fence))

    def _waits(self, call_id: UUID, asked: Asked) -> None:
        life = self.lives[call_id]
        life.asked.append(asked)
        life.approved = ""

    def _until(self, call_id: UUID) -> Any:
        return ToolCall.objects.get(id=call_id).deadline

    # A person answers.

    @precondition(lambda self: any(life.asked for life in self.lives.values()))
    @rule(
        data=st.data(),
        of=st.integers(0, 2),
        approve=st.booleans(),
        at_terminal=st.booleans(),
        late_s=st.sampled_from([0, 0, 0, 299, 300]),
    )
    def decide(
        self, data: st.DataObject, of: int, approve: bool, at_terminal: bool, late_s: int
    ) -> None:
        asked = [call_id for call_id, life in self.lives.items() if life.asked]
        call_id = data.draw(st.sampled_from(asked))
        shown = data.draw(st.sampled_from(self.lives[call_id].asked))
        self.clock.moves(late_s)
        self._decide(self._person(of, at_terminal), call_id, shown.digest, approve)

    def _decide(self, person: Decider, call_id: UUID, digest: str, approve: bool) -> bool:
        life, before = self.lives[call_id], self._state(call_id)
        question, is_same = life.asked[-1], self._is_same(call_id)
        said: Any = None
        try:
            said = self._doing(
                lambda: calls.decide(person, Q(call_id=call_id), digest=digest, approve=approve)
            )
        except UndecidedError:
            self._whole = True
            self._note_anew(call_id, before, is_same)
            return False
        assert before == State.APPROVAL, "I21 answered when nobody was asked"
        assert question.until > self._now(), "I21 answered after its time"
        assert question.digest == digest, "I22 answered to another question"
        mine = (life.connector.user_id, life.connector.organization_id)
        assert mine == (person.user_id, person.organizations[0]), "I1 answered by another"  # type: ignore[index]
        if person.holder is not None:
            assert person.holder.connector_id == life.connector.id, "I1 answered elsewhere"
            assert question.by is Asker.MACHINE, "I1 the organization's question, in a terminal"
        assert said.answer == (Answer.APPROVED if approve else Answer.REFUSED)
        if not approve:
            assert self._state(call_id) == State.FAILED
            return True
        assert is_same, "I22 approved what is another call now, or what is not allowed any more"
        life.approved, life.deadline = digest, self._now() + life.lasts
        if question.by is Asker.ORGANIZATION:
            life.of_policy = digest
        assert self._until(call_id) == life.deadline, "the time begins anew"
        return True

    def _note_anew(self, call_id: UUID, before: str, is_same: bool) -> None:
        """What cannot be approved, for it has changed, is asked about anew."""
        digest = self._digest(call_id)
        is_anew = (
            self._state(call_id) == before == State.APPROVAL
            and not is_same
            and ToolCall.objects.filter(
                approvals__state=Answer.PENDING, approvals__digest=digest, id=call_id
            ).exists()
        )
        if is_anew:
            self._waits(call_id, Asked(digest, Asker.ORGANIZATION, self._until(call_id)))

    # The organization asks.

    @rule(of=st.integers(0, 2), effects=st.booleans())
    def enqueue_asked(self, of: int, effects: bool) -> None:
        self._enqueue_asked(of, effects)

    def _enqueue_asked(self, of: int, effects: bool) -> UUID:
        connector = self.connectors[of]
        self._defined(connector)
        policy = policies.newest(connector.organization_id)
        now = policies.standing(policy, SERVER, TOOL, {}, self._tool(of).digest)
        question = Question(asked_by=Asker.ORGANIZATION, digest=now.digest)
        new = new_call(
            connector,
            has_effects=effects,
            deadline_s=20,
            decision=Decision.ASK.value,
            policy_version=now.judged.version,
            question=question,
        )
        call_id = calls.enqueue(new)
        life = self._lived(connector, call_id, effects, 20)
        life.asked.append(Asked(now.digest, Asker.ORGANIZATION, life.deadline))
        return call_id

    @rule(of=st.integers(0, 2), what=st.sampled_from(["tool", "policy"]))
    def something_changes(self, of: int, what: str) -> None:
        connector = self.connectors[of]
        self._defined(connector)
        if what == "tool":
            self._tool(of, digest=uuid.uuid4().hex * 2)
            return
        rows = PolicyVersion.objects.filter(organization_id=connector.organization_id)
        rows.create(
            organization_id=connector.organization_id,
            version=rows.count() + 1,
            otherwise=Decision.ASK,
        )

    def _defined(self, connector: Connector) -> None:
        """It has the tool, and its organization a policy that asks about it."""
        server, _ = McpServer.objects.get_or_create(
            connector=connector, name=SERVER, defaults={"transport": "stdio", "state": "ready"}
        )
        McpTool.objects.get_or_create(
            server=server,
            name=TOOL,
            defaults={"position": 0, "input_schema": {}, "digest": "d" * 64},
        )
        organization = connector.organization_id
        if not PolicyVersion.objects.filter(organization_id=organization).exists():
            PolicyVersion.objects.create(
                organization_id=organization, version=1, otherwise=Decision.ASK
            )

    def _tool(self, of: int, **changes: str) -> McpTool:
        rows = McpTool.objects.filter(server__connector=self.connectors[of], name=TOOL)
        if changes:
            rows.update(**changes)
        return rows.get()

    def _is_same(self, call_id: UUID) -> bool:
        """Whether the organization would have nothing else to ask now."""
        life, now = self.lives[call_id], self._digest(call_id)
        if life.asked[-1].by is Asker.ORGANIZATION:
            return life.asked[-1].digest == now
        return now in {"", life.of_policy}

    def _digest(self, call_id: UUID) -> str:
        """Of the call under the policy as it is; "" where that allows it."""
        return policies.standing_of(ToolCall.objects.get(id=call_id)).digest

    def _still_approved(self, call_id: UUID) -> None:
        allowed = {"", self.lives[call_id].of_policy}
        assert self._digest(call_id) in allowed, "I22 handed out, and not allowed or approved"

    def _claim(self, connector: Connector, most: int, claim: Claim = calls.claim) -> None:
        waiting = {each for each in self.lives if self._state(each) == State.APPROVAL}
        super()._claim(connector, most, claim)
        # What is not allowed or approved any more is not handed out but asked about.
        for call_id in self.lives.keys() - waiting:
            if self._state(call_id) == State.APPROVAL:
                asked = Asked(self._digest(call_id), Asker.ORGANIZATION, self._until(call_id))
                self._waits(call_id, asked)

    # Lives that chance alone would seldom make.

    @rule(of=st.integers(0, 2), other=st.integers(0, 2), at_terminal=st.booleans())
    def another_decides(self, of: int, other: int, at_terminal: bool) -> None:
        call_id = self._handed_out(of, 60)
        fence = self.lives[call_id].fence
        self._ask(holder_of(self.connectors[of]), call_id, fence, "a" * 64)
        self._decide(self._person(other, at_terminal), call_id, "a" * 64, True)

    @rule(of=st.integers(0, 2), effects=st.booleans(), begins=st.booleans())
    def approved_and_back(self, of: int, effects: bool, begins: bool) -> None:
        """It begins once by its approval, and its holder falls silent."""
        self.clock.moves(400)
        self.reap()
        self.enqueue(of, effects, 60)
        call_id, connector = list(self.lives)[-1], self.connectors[of]
        for _ in range(2):
            self._claim(connector, 64)
            fence = self.lives[call_id].fence
            self._ask(holder_of(connector), call_id, fence, "a" * 64)
            if begins:
                self._start(holder_of(connector), call_id, fence)
            self._decide(self._person(of), call_id, "a" * 64, True)
            self._claim(connector, 64)
            self._start(holder_of(connector), call_id, self.lives[call_id].fence)
            self.clock.moves(calls.LEASE_S)
            self.reap()
        self._claim(connector, 64)
        self._start(holder_of(connector), call_id, self.lives[call_id].fence)

    @rule(
        of=st.integers(0, 2),
        what=st.sampled_from(["tool", "policy", ""]),
        first=st.booleans(),
        effects=st.booleans(),
    )
    def changed_before_it_runs(self, of: int, what: str, first: bool, effects: bool) -> None:
        """The tool or the policy changes before the approval, or after it, or nothing does."""
        self.clock.moves(400)
        self.reap()
        call_id = self._enqueue_asked(of, effects)
        digest = self.lives[call_id].asked[-1].digest
        if what and first:
            self.something_changes(of, what)
        self._decide(self._person(of), call_id, digest, True)
        if what and not first:
            self.something_changes(of, what)
        self._claim(self.connectors[of], 64, calls.claim if effects else calls.claim_begun)

    @rule(of=st.integers(0, 2))
    def allowed_until_it_runs(self, of: int) -> None:
        """The policy that allowed it is another one when it is handed out."""
        self.clock.moves(400)
        self.reap()
        self.enqueue(of, False, 60)
        call_id = list(self.lives)[-1]
        self.something_changes(of, "policy")
        self._claim(self.connectors[of], 64, calls.claim_begun)
        assert self._state(call_id) == State.APPROVAL, "I22 begun, and nobody was asked"

    @rule(of=st.integers(0, 2), late_s=st.sampled_from([299, 300]))
    def decides_late(self, of: int, late_s: int) -> None:
        call_id = self._handed_out(of, 60)
        fence = self.lives[call_id].fence
        self._ask(holder_of(self.connectors[of]), call_id, fence, "a" * 64)
        self.clock.moves(late_s)
        self._decide(self._person(of), call_id, "a" * 64, True)
