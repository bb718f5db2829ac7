"""A person at the desk: what their yes and no do, and when they are asked no more."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.policy import Default, Policy
from tests.conftest import Connector
from tests.gateway import Gateway
from tests.person import Person

Start = Callable[..., Connector]

both = pytest.mark.parametrize("transport", ["websocket", "polling"])
ASKS = Policy(default=Default.ASK)
HERE = replace(ASKS, approve_from=("terminal",))
THERE = replace(ASKS, approve_from=("gateway",))


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


async def test_a_person_sees_what_a_tool_that_has_changed_says_now(
    gateway: Gateway, start: Start
) -> None:
    person = Person()
    start(desk=person)
    await gateway.serving()
    await gateway.ended(gateway.submit("count", word="a"))
    await gateway.ended(gateway.submit("reword", word="Sends it to me."))
    await gateway.until(lambda: "Sends it" in str(gateway.servers["echo"].tools))
    question = await person.sees(gateway.submit("count", word="b").id)
    assert ("it says of itself now", "Sends it to me.") in question.facts
    assert question.facts[0][1] == "in the MCP server echo, as you, confined by nothing"
