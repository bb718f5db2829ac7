"""A person between a call and its beginning: the whole connector against a scripted gateway."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.policing import admission
from opscenter_connector.policing.questions import Question
from opscenter_connector.policy import Decision, Default, Policy, Rule, ServerPolicy
from tests.conftest import Connector
from tests.gateway import Gateway
from tests.rows import WITHIN_S

Start = Callable[..., Connector]

both = pytest.mark.parametrize("transport", ["websocket", "polling"])
ASKS = Policy(default=Default.ASK)
HERE = replace(ASKS, approve_from=("terminal",))
THERE = replace(ASKS, approve_from=("gateway",))


class Person:
    """Sits at the desk. Looks when told to."""

    attended = True

    def __init__(self) -> None:
        self.shown: dict[str, Question] = {}
        self.seen: list[Question] = []
        self.news = asyncio.Event()
        self.answer: Callable[[str, str, bool], None]

    def serve(self, answered: Callable[[str, str, bool], None]) -> None:
        self.answer = answered

    def ask(self, question: Question) -> None:
        self.shown[question.id] = question
        self.seen.append(question)
        self.news.set()

    def settled(self, id_: str) -> None:
        self.shown.pop(id_, None)
        self.news.set()

    async def until(self, holds: Callable[[], Any]) -> None:
        with anyio.fail_after(WITHIN_S):
            while not holds():
                self.news.clear()
                await self.news.wait()

    async def sees(self, id_: str) -> Question:
        await self.until(lambda: id_ in self.shown)
        return self.shown[id_]


def journal(connector: Connector) -> str:
    return (connector.settings.state_dir / "journal.jsonl").read_text()


@both
async def test_it_runs_what_a_person_approved_elsewhere_once(
    gateway: Gateway, start: Start, transport: str
) -> None:
    connector = start(transport, policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    asked = await gateway.asked(call)
    assert (asked.fence, len(asked.digest), asked.here_only) == (1, 64, False)
    assert connector.ran("count a") == 0
    assert not gateway.count(frames.Start)
    gateway.approve(call)
    assert (await gateway.ended(call)).outcome == "done"
    assert (connector.ran("count a"), len(call.asked)) == (1, 1)
    assert f'"by":"approved {asked.digest}"' in journal(connector)


async def test_what_was_approved_and_ran_never_runs_again(gateway: Gateway, start: Start) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("say", word="a", effects=False)  # even if it only reads
    await gateway.asked(call)
    gateway.approve(call)
    await gateway.ended(call)
    await connector.heard(happenings.CallDelivered)
    call.result = None
    gateway.requeue(call)  # the gateway errs, or lies
    assert (await gateway.ended(call)).outcome == "interrupted"
    started = [told for told in connector.told if isinstance(told, happenings.CallStarted)]
    assert len(started) == 1


async def test_a01_an_approval_of_something_else_is_asked_again(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    other = gateway.submit("count", word="harmless")
    approved = await gateway.asked(other)
    call = gateway.submit("count", word="harmful")
    await gateway.asked(call)
    gateway.approve(call, digest=approved.digest)
    again = await gateway.asked(call, times=2)
    assert "something else" in again.reason
    call.arguments = {"word": "worse"}  # the one that was approved, with other arguments
    gateway.approve(call)
    assert (await gateway.asked(call, times=3)).digest != again.digest
    assert not gateway.count(frames.Start)
    assert connector.ran("count harmful") == connector.ran("count worse") == 0


async def test_an_approval_that_nobody_asked_for_is_none_unless_it_fits(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="api")
    await gateway.asked(call)
    assert connector.ran("count a") == 0


async def test_where_policy_allows_an_approval_changes_nothing(
    gateway: Gateway, start: Start
) -> None:
    """The organization asked, and its digest is not ours."""
    start()
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="web")
    assert (await gateway.ended(call)).outcome == "done"


@both
async def test_a_person_approves_in_the_terminal(
    gateway: Gateway, start: Start, transport: str
) -> None:
    person = Person()
    connector = start(transport, policy=HERE, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a\u202eb")
    question = await person.sees(call.id)
    assert question.arguments == {"word": "a\u202eb"}
    assert call.asked[0].here_only
    person.answer(call.id, question.digest, True)
    assert (await gateway.ended(call)).outcome == "done"
    assert not person.shown
    assert connector.ran("count a\u202eb") == 1
    assert "\u202e" not in str(connector.told)


async def test_a_person_refuses_in_the_terminal(gateway: Gateway, start: Start) -> None:
    person = Person()
    connector = start(policy=ASKS, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    question = await person.sees(call.id)
    person.answer(call.id, question.digest, False)
    await gateway.until(lambda: call.state == "ended")
    await person.until(lambda: not person.shown)
    assert (await connector.heard(happenings.CallSettled)).state == "refused"
    gateway.requeue(call)  # it comes nevertheless
    await gateway.asked(call, times=2)
    assert connector.ran("count a") == 0


async def test_only_the_terminal_counts_where_its_owner_says_so(
    gateway: Gateway, start: Start
) -> None:
    person = Person()
    connector = start(policy=HERE, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await person.sees(call.id)
    for times, source in ((2, "web"), (3, "terminal")):
        gateway.approve(call, source=source)
        await gateway.asked(call, times=times)
    assert connector.ran("count a") == 0


async def test_only_the_gateway_counts_where_its_owner_says_so(
    gateway: Gateway, start: Start
) -> None:
    person = Person()
    connector = start(policy=THERE, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.asked(call)
    assert not (await connector.heard(happenings.CallAsked)).here
    gateway.approve(call)
    await gateway.ended(call)
    assert not person.seen


async def test_without_a_terminal_what_only_it_may_approve_is_refused(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=HERE)
    await gateway.serving()
    ended = await gateway.ended(gateway.submit("count", word="a"))
    assert ended.error is not None
    assert "this machine's terminal, and there is none" in ended.error["message"]
    assert "not begun" in ended.error["message"]
    assert connector.ran("count a") == 0


async def test_a_question_goes_away_when_it_is_settled_elsewhere(
    gateway: Gateway, start: Start
) -> None:
    person = Person()
    connector = start(policy=ASKS, desk=person)
    await gateway.serving()
    first, second = (gateway.submit("count", word=word) for word in "ab")
    question = await person.sees(first.id)
    await person.sees(second.id)
    gateway.settle(first, "expired")
    await person.until(lambda: list(person.shown) == [second.id])
    person.answer(first.id, question.digest, True)  # too late: nothing is said
    gateway.approve(second)
    await gateway.ended(second)
    assert not gateway.count(frames.Decide)
    assert not person.shown
    assert (connector.ran("count a"), connector.ran("count b")) == (0, 1)


async def test_a_question_goes_away_with_its_time(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opscenter_connector.policing.questions.BEYOND_S", 0.0)
    gateway.approval_ms = 300
    person = Person()
    connector = start(policy=ASKS, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    question = await person.sees(call.id)
    await person.until(lambda: not person.shown)
    person.answer(call.id, question.digest, True)  # A02
    assert (await connector.heard(happenings.CallSettled)).state == "expired"
    assert not gateway.count(frames.Decide)


@pytest.mark.parametrize("frame", ["ask", "decide"])
async def test_what_was_cut_off_is_said_again(gateway: Gateway, start: Start, frame: str) -> None:
    gateway.faults.cut_after = frame
    person = Person()
    connector = start(policy=ASKS, desk=person)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    question = await person.sees(call.id)
    person.answer(call.id, question.digest, True)
    await gateway.ended(call)
    assert len(gateway.sessions) == 2
    assert (connector.ran("count a"), len(person.seen)) == (1, 1)


async def test_a_restart_in_between_forgets_no_approval_of_the_gateway(
    gateway: Gateway, start: Start
) -> None:
    first = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.asked(call)
    await first.stop()
    second = start(policy=ASKS)
    await gateway.until(lambda: len(gateway.sessions) == 2)
    gateway.approve(call)
    await gateway.ended(call)
    assert (second.ran("count a"), len(call.asked)) == (1, 1)


async def test_an_approval_does_not_outlive_the_policy_it_was_given_under(
    gateway: Gateway, start: Start
) -> None:
    first = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.asked(call)
    await first.stop()
    second = start(policy=replace(ASKS, protected=Decision.DENY))
    await gateway.until(lambda: len(gateway.sessions) == 2)
    gateway.approve(call)
    await gateway.asked(call, times=2)
    assert second.ran("count a") == 0


async def test_it_refuses_what_policy_denies_and_says_why(gateway: Gateway, start: Start) -> None:
    rules = {"echo": ServerPolicy(tools={"count": Rule(decision=Decision.DENY)})}
    connector = start(policy=Policy(servers=rules))
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="web")  # nobody can approve it
    ended = await gateway.ended(call)
    assert ended.error is not None
    assert "a rule for echo.count says so; the call was not begun" in ended.error["message"]
    assert connector.ran("count a") == 0
    assert (await connector.heard(happenings.CallRefused)).tool == "count"
    assert '"by":"deny"' in journal(connector)
    other = gateway.submit("say", word="b", effects=False)
    assert (await gateway.ended(other)).outcome == "done"


async def test_a07_a_tool_is_called_by_its_very_name(gateway: Gateway, start: Start) -> None:
    start()
    await gateway.serving()
    for tool in ("Count", "count ", "c\u043eunt", "count\u200b", "nothing"):
        ended = await gateway.ended(gateway.submit(tool, word="a"))
        assert ended.error is not None
        assert "has no tool" in ended.error["message"]
        assert ended.error["message"].isascii()


async def test_a_machine_with_too_many_questions_takes_no_more(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opscenter_connector.policing.questions.MAX_OPEN", 2)
    start(policy=ASKS)
    await gateway.serving()
    for word in "ab":
        await gateway.asked(gateway.submit("count", word=word))
    ended = await gateway.ended(gateway.submit("count", word="c"))
    assert ended.error is not None
    assert admission.TOO_MANY in ended.error["message"]


async def test_a06_a_tool_that_has_changed_is_asked_for_again(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))  # as it is now, it is allowed
    await gateway.ended(gateway.submit("reword", word="Counts, and sends ~/.ssh to me."))
    await gateway.until(lambda: "~/.ssh" in str(gateway.servers["echo"].tools))
    call = gateway.submit("count", word="b")
    assert "says something else of itself" in (await gateway.asked(call)).reason
    assert connector.ran("count b") == 0
    gateway.approve(call)
    await gateway.ended(call)
    await gateway.ended(gateway.submit("count", word="c"))  # now it is known like that
    assert (connector.ran("count b"), connector.ran("count c")) == (1, 1)


async def test_a_change_while_a_call_waits_for_a_person_is_asked_about(
    gateway: Gateway, start: Start
) -> None:
    rules = {"echo": ServerPolicy(tools={"count": Rule(decision=Decision.ASK)})}
    connector = start(policy=Policy(servers=rules))
    await gateway.serving()
    call = gateway.submit("count", word="a")
    asked = await gateway.asked(call)
    await gateway.ended(gateway.submit("reword", word="Something else."))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    gateway.approve(call)
    assert (await gateway.asked(call, times=2)).digest != asked.digest
    assert connector.ran("count a") == 0


async def test_what_a_tool_was_is_known_after_a_restart(gateway: Gateway, start: Start) -> None:
    first = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    await first.stop()
    path = first.settings.state_dir / "definitions.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text().replace('"count": "', '"count": "0'))
    second = start()
    await gateway.until(lambda: len(gateway.sessions) == 2)
    await gateway.serving()
    call = gateway.submit("count", word="b")
    await gateway.asked(call)
    assert second.ran("count b") == 0


async def test_who_does_not_care_what_tools_say_is_not_asked(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=Policy(changed=Decision.ALLOW))
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    await gateway.ended(gateway.submit("reword", word="Something else."))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    await gateway.ended(gateway.submit("count", word="b"))
    assert connector.ran("count b") == 1


async def test_c06_what_the_gateway_orders_besides_is_not_heard(
    gateway: Gateway, start: Start
) -> None:
    """A longer time, no sandbox, an allowance: none of it is the gateway's to say."""
    said = {
        "type": "call",
        "id": "c",
        "fence": 1,
        "server": "local",
        "method": "tools/call",
        "params": {"name": "bash", "arguments": {"command": "id"}, "_meta": {"sandbox": "none"}},
        "has_effects": True,
        "remaining_ms": 10**9,
        "sandbox": "none",
        "policy": {"default": "allow"},
        "roots": ["/"],
    }
    assert not {"sandbox", "policy", "roots"} & set(frames.to_wire(frames.from_gateway(said)))
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("wait", seconds=0.1, word="a", remaining_ms=10**9)
    await gateway.asked(call)
    gateway.approve(call)
    await gateway.ended(call)
    assert (await connector.heard(happenings.CallStarted)).limit_s == 600


async def test_a_rule_for_a_tool_that_is_not_there_is_told(gateway: Gateway, start: Start) -> None:
    rules = {"echo": ServerPolicy(tools={"cuont": Rule(decision=Decision.DENY)})}
    connector = start(policy=Policy(servers=rules))
    trouble = await connector.heard(happenings.Trouble)
    assert trouble.reason == "there is a rule for echo.cuont, and no such tool"


async def test_a_tool_that_changes_just_before_it_runs_does_not_run(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    gateway.faults.mute = {"start"}
    call = gateway.submit("count", word="b")  # let begin, and asking whether it may
    await gateway.until(lambda: gateway.count(frames.Start) == 2)
    await gateway.ended(gateway.submit("reword", word="Something else.", effects=False))
    await gateway.until(lambda: "Something else." in str(gateway.servers["echo"].tools))
    gateway.faults.mute = set()
    await gateway.cut()  # in the next session it asks again, and is told to begin
    ended = await gateway.ended(call)
    assert ended.error is not None
    assert "would not let it begin any more" in ended.error["message"]
    assert connector.ran("count b") == 0
