"""Lets calls begin, refuses them, or has a person asked. Between the calls and whoever decides."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from opscenter_connector import actions, cancelling, frames, happenings
from opscenter_connector.happenings import Happening
from opscenter_connector.policing.gate import CHANGED, Gate, Verdict, arguments_of
from opscenter_connector.policing.questions import Question, Questions
from opscenter_connector.policy import BASH, CONFINING, LOCAL, Decision
from opscenter_connector.servers import NotRunningError, Servers
from opscenter_connector.work import Work

START_WITHIN_S = 20.0  # for a server that is just starting again
TOO_MANY = "too many calls wait for a person already"


class NotLetError(Exception):
    """What let it begin holds no more. The text says why, `decision` what holds instead."""

    def __init__(self, text: str, decision: str) -> None:
        super().__init__(text)
        self.decision = decision


class Desk(Protocol):
    """Where a person sits, or nobody. Called on the event loop; returns at once."""

    @property
    def attended(self) -> bool:
        """Whether somebody can be asked here at all."""

    def serve(self, answered: Callable[[str, str, bool], None]) -> None:
        """From now on: `answered(id, digest, approve)` on the event loop."""

    def ask(self, question: Question) -> None:
        """Show it."""

    def settled(self, id_: str) -> None:
        """Take it away."""


class NoDesk:
    """Nobody sits here."""

    attended = False

    def serve(self, answered: Callable[[str, str, bool], None]) -> None:
        """Nobody answers."""

    def ask(self, question: Question) -> None:
        """Nobody is asked."""

    def settled(self, id_: str) -> None:
        """Nothing is shown."""


class Admission:
    """One for a connector."""

    def __init__(
        self,
        gate: Gate,
        questions: Questions,
        desk: Desk,
        servers: Servers,
        told: Callable[[Happening], None],
    ) -> None:
        self._gate = gate
        self._questions = questions
        self._desk = desk
        self._servers = servers
        self._told = told
        self._work: Work
        self._perform: Callable[[list[actions.Action]], None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[tuple[str, str]] = set()  # rules that were told to hold for nothing

    def serve(self, work: Work, perform: Callable[[list[actions.Action]], None]) -> None:
        """Whose calls they are, and who does what comes of it."""
        self._work, self._perform = work, perform
        self._desk.serve(self._answered)

    def judge(self, action: actions.Judge) -> None:
        """At once, unless its server is just starting: what a tool is decides too."""
        call = action.call
        if self._questions.comes(call.id):
            self._desk.settled(call.id)
        if call.method != "tools/call" or self._servers.is_ready(call.server):
            self._decide(call)
            return
        task = asyncio.create_task(self._judge_later(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begins(self, call: frames.Call) -> None:
        """Just before it runs. Raises NotLetError if it would not be let begin any more."""
        definition = self._servers.definition(call.server, call.tool)
        verdict = self._gate.verdict(call, definition)
        if definition is None or verdict.decision is not Decision.ALLOW:
            reason = f"this machine would not let it begin any more: {verdict.reason}"
            raise NotLetError(reason, verdict.decision.value)
        self._gate.begins(call, definition)

    def announced(self, server: frames.Announced) -> None:
        """It says what it has: a rule for something else holds for nothing."""
        if server.state != "ready" or server.name == LOCAL:
            return  # what is built in depends on the sandbox
        there = {tool.get("name") for tool in server.tools}
        for tool in self._gate.policy.of(server.name).tools:
            if tool not in there and (server.name, tool) not in self._idle:
                self._idle.add((server.name, tool))
                reason = f"there is a rule for {server.name}.{tool}, and no such tool"
                self._told(happenings.Trouble(what="policy", reason=reason))

    def take(self, frame: frames.Asked | frames.Settled | frames.Denied) -> None:
        """What the gateway says of questions."""
        if isinstance(frame, frames.Asked):
            question = self._questions.waits(frame, now_s=time.monotonic())
            if question is not None and self._gate.asks_here:
                self._desk.ask(question)
        elif isinstance(frame, frames.Settled):
            if self._questions.settled(frame.id, frame.digest, frame.state):
                self._gone(frame.id, frame.state)
        elif self._questions.withdrawn(frame.id, frame.fence):
            self._gone(frame.id, "withdrawn")

    def reopened(self) -> None:
        """A session is new."""
        self._perform(list(self._questions.again()))

    def tick(self) -> None:
        """Time has passed."""
        for id_ in self._questions.over(now_s=time.monotonic()):
            self._gone(id_, "expired")

    async def aclose(self) -> None:
        await cancelling.ended(*self._tasks)

    def _gone(self, id_: str, state: str) -> None:
        self._desk.settled(id_)
        self._told(happenings.CallSettled(id=id_, state=state))

    async def _judge_later(self, call: frames.Call) -> None:
        try:
            await self._servers.get(call.server).ready(START_WITHIN_S)
        except NotRunningError as error:
            self._perform(self._work.judged(call.id, call.fence, by="down", refusal=str(error)))
            return
        self._decide(call)

    def _decide(self, call: frames.Call) -> None:
        if call.method != "tools/call":  # there is nothing yet that answers it
            self._perform(self._work.judged(call.id, call.fence, by=Decision.ALLOW.value))
            return
        verdict = self._gate.verdict(call, self._servers.definition(call.server, call.tool))
        if verdict.decision is Decision.ASK:
            self._ask(call, verdict)
            return
        refusal = ""
        if verdict.decision is Decision.DENY:
            refusal = f"this machine refuses it, whoever approves: {verdict.reason}"
            self._told(
                happenings.CallRefused(
                    id=call.id, server=call.server, tool=call.tool, reason=verdict.reason
                )
            )
        self._perform(self._work.judged(call.id, call.fence, by=verdict.told, refusal=refusal))

    def _ask(self, call: frames.Call, verdict: Verdict) -> None:
        if self._questions.full:
            todo = self._work.judged(call.id, call.fence, by="full", refusal=TOO_MANY)
            self._perform(todo)
            return
        given_back = self._work.asked(call.id, call.fence)
        if given_back is None:
            return
        question = Question(
            id=call.id,
            fence=call.fence,
            digest=verdict.digest,
            server=call.server,
            tool=call.tool,
            arguments=arguments_of(call) or {},
            reason=verdict.reason,
            facts=tuple(self._facts(call, verdict)),
        )
        asked = happenings.CallAsked(
            id=call.id,
            server=call.server,
            tool=call.tool,
            reason=verdict.reason,
            digest=verdict.digest,
            here=self._gate.asks_here,
            elsewhere=not self._gate.here_only,
        )
        frame = self._questions.put(question, here_only=self._gate.here_only)
        self._perform([*given_back, frame, asked])

    def _facts(self, call: frames.Call, verdict: Verdict) -> Iterator[tuple[str, str]]:
        """What a person has to know besides the arguments."""
        roots = self._gate.policy.roots
        if call.server != LOCAL:
            yield "runs", f"in the MCP server {call.server}, as you, confined by nothing"
        elif call.tool == BASH:
            layer = self._gate.layer
            yield "sandbox", layer if layer in CONFINING else f"{layer}: it may do all that you may"
            yield "starts in", str((arguments_of(call) or {}).get("cwd", roots[0]))
        else:
            yield "folders", ", ".join(roots)
        if CHANGED in verdict.reason:
            definition = self._servers.definition(call.server, call.tool) or {}
            yield "it says of itself now", str(definition.get("description", "nothing"))

    def _answered(self, id_: str, digest: str, approve: bool) -> None:
        """A person has decided at the desk."""
        frame = self._questions.decide(id_, digest, approve=approve)
        if frame is not None:
            self._told(happenings.CallDecided(id=id_, approve=approve))
            self._perform([frame])
