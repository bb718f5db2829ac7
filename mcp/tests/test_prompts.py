"""A machine asks, somebody answers, over a session: who hears of it, and what is run then."""

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from accounts.tests import people
from accounts.tests.people import Person
from mcp import bell, calls, frames, questions
from mcp.models import McpTool
from mcp.session import Session
from mcp.states import Answer, State
from mcp.tests.answering import (
    ONE,
    TWO,
    approval_of,
    asks,
    decides,
    handed_out,
    on_the_web,
    replaced,
    row_of,
    state_of,
)
from mcp.tests.test_session import LONG_S, begun, finished, hello, instance_of, opened
from mcp.threads import off_loop
from tests import tunnel
from tests.tunnel import principal_of, run

tidy = tunnel.tidy
alice, bob, charlie = people.alice, people.bob, people.charlie
pytestmark = pytest.mark.usefixtures("tidy")


async def test_it_runs_what_was_approved_on_the_web(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    assert call.approval is UNSET
    asked = await asks(session, call)
    assert isinstance(asked, frames.Asked)
    assert 290_000 < asked.remaining_ms <= 300_000
    assert await state_of(call) == State.APPROVAL
    assert await session.due() == []
    assert await on_the_web(alice) is Answer.APPROVED
    settled, again = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert settled == frames.Settled(id=call.id, digest=ONE, state="approved")
    assert isinstance(again, frames.Call)
    assert again.approval == frames.Approved(digest=ONE, source="web")
    assert again.fence == call.fence + 1
    (started,) = await session.take(frames.Start(id=again.id, fence=again.fence))
    assert isinstance(started, frames.Started)
    await finished(session, again)
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_it_takes_the_word_of_the_terminal(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    assert await decides(session, call, True, TWO) == "unknown"
    assert await decides(session, call, True) == "approved"
    assert await decides(session, call, False) == "approved"  # the first counts
    again = await handed_out(session)
    assert again.approval == frames.Approved(digest=ONE, source="terminal")
    said = await approval_of(call)
    assert (said.decider, said.place, said.source) == ("alice", "laptop", "terminal")
    running.cancel()


async def test_it_tells_the_model_what_a_refusal_means(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    assert await on_the_web(alice, approve=False) is Answer.REFUSED
    ended = await asyncio.wait_for(running, 10)
    assert (ended.state, ended.is_error) == (State.FAILED, True)
    assert "refused" in ended.result["content"][0]["text"]
    assert await session.next_due(LONG_S) == [
        frames.Settled(id=call.id, digest=ONE, state="refused")
    ]
    assert await session.due() == []  # it is told once


async def test_it_goes_on_waiting_while_a_person_decides(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.tools.SLACK_S", -calls.GRACE_S + 0.2)
    session = await opened(alice)
    running = run(alice, deadline_s=0.5)
    call = await handed_out(session)
    await asks(session, call)
    waited = asyncio.ensure_future(asyncio.shield(running))
    done, _ = await asyncio.wait([waited], timeout=1.5)  # a bound that is meant to be reached
    assert not done
    assert await decides(session, call, True) == "approved"
    await finished(session, await begun(session))
    assert (await asyncio.wait_for(waited, 10)).state == State.SUCCEEDED


async def test_it_ends_what_nobody_answers(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "APPROVAL_S", 0.0)
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    await off_loop(calls.reap)()
    bell.ring_call(call.id)
    ended = await asyncio.wait_for(running, 10)
    assert ended.state == State.FAILED
    assert "approved" in ended.result["content"][0]["text"]
    assert await decides(session, call, True) == "expired"


async def test_it_takes_a_prompt_away_with_the_bell_cut(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_ring", lambda *_: None)
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    await on_the_web(alice, approve=False)
    settled = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert settled == [frames.Settled(id=call.id, digest=ONE, state="refused")]
    assert (await asyncio.wait_for(running, 10)).state == State.FAILED


async def test_it_withdraws_the_question_of_a_call_that_is_cancelled(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    running.cancel()
    settled = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert settled == [frames.Settled(id=call.id, digest=ONE, state="withdrawn")]
    assert await state_of(call) == State.CANCELLED
    assert await decides(session, call, True) == "withdrawn"


async def test_it_answers_an_ask_that_is_repeated(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    newer = await opened(alice, await instance_of(session))
    assert isinstance(await asks(newer, call), frames.Asked)
    denied = await asks(newer, call, TWO)
    assert isinstance(denied, frames.Denied)
    await on_the_web(alice)
    settled = frames.Settled(id=call.id, digest=ONE, state="approved")
    assert await asks(newer, call) == settled
    due = await asyncio.wait_for(newer.next_due(LONG_S), 10)
    assert due[0] == settled  # a newer session hears of what an older one asked
    running.cancel()


async def test_it_asks_again_where_the_machine_computes_another_digest(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    assert await decides(session, call, True) == "approved"
    again = await handed_out(session)
    assert isinstance(await asks(session, again, TWO), frames.Asked)
    assert await state_of(call) == State.APPROVAL
    assert await decides(session, again, True, TWO) == "approved"
    await finished(session, await begun(session))
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_it_lets_only_the_terminal_approve_where_the_machine_says_so(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await session.take(frames.Ask(id=call.id, fence=call.fence, digest=ONE, here_only=True))
    with pytest.raises(calls.UndecidedError) as refused:
        await on_the_web(alice)
    assert refused.value.code == "terminal_only"
    assert await decides(session, call, True) == "approved"
    running.cancel()


@pytest.mark.parametrize("of_same_organization", [True, False])
async def test_it_lets_nobody_else_decide(
    alice: Person, bob: Person, charlie: Person, of_same_organization: bool
) -> None:
    other = bob if of_same_organization else charlie
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    theirs, _ = await Session.open(principal_of(other), hello(), "polling")
    assert await decides(theirs, call, True) == "unknown"
    denied = await asks(theirs, call)
    assert isinstance(denied, frames.Denied)
    with pytest.raises(calls.UndecidedError) as refused:
        await on_the_web(other)
    assert refused.value.code == "unknown"
    assert await state_of(call) == State.APPROVAL
    running.cancel()


async def test_it_keeps_the_definition_that_was_asked_for(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    row, tool = await row_of(call), await off_loop(McpTool.objects.get)()
    assert (row.definition, row.decision) == (tool.digest, "allow")
    running.cancel()


async def test_it_is_asked_about_what_began_as_it_was_handed_out(alice: Person) -> None:
    session = await opened(alice)
    reading: dict[str, Any] = {"name": "read", "inputSchema": {"type": "object"}}
    await session.take(
        frames.Server(server=replaced([reading | {"annotations": {"readOnlyHint": True}}]))
    )
    running = run(alice)
    call = await handed_out(session)
    assert call.begun
    assert isinstance(await asks(session, call), frames.Asked)
    assert await decides(session, call, True) == "approved"
    again = await handed_out(session)
    assert (again.begun, again.approval) == (False, frames.Approved(digest=ONE, source="terminal"))
    (started,) = await session.take(frames.Start(id=again.id, fence=again.fence))
    assert isinstance(started, frames.Started)
    (denied,) = await session.take(frames.Start(id=again.id, fence=again.fence))
    assert isinstance(denied, frames.Denied)  # an approval is for one beginning
    await finished(session, again)
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED
