"""The organization's policy asks, or denies: what is put in, handed out, and asked about anew."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, frames
from mcp.models import ToolCall
from mcp.offers import RefusedError
from mcp.session import Session
from mcp.states import Answer, Decision, State
from mcp.tests.answering import (
    asks,
    decides,
    handed_out,
    on_the_web,
    pending_digest,
    policy,
    redefined,
    waits_for_approval,
)
from mcp.tests.test_session import begun, finished, opened
from mcp.threads import off_loop
from tests import tunnel
from tests.tunnel import rows, run, until

tidy = tunnel.tidy
alice, bob, charlie = people.alice, people.bob, people.charlie
pytestmark = pytest.mark.usefixtures("tidy")


async def test_it_asks_first_where_the_organization_says_so(alice: Person) -> None:
    await policy(alice, Decision.ASK)
    session = await opened(alice)
    running = run(alice)
    await until(lambda: waits_for_approval(alice))
    assert await session.due() == []
    digest = await pending_digest(alice)
    assert await on_the_web(alice, digest) is Answer.APPROVED
    call = await handed_out(session)
    assert call.approval == frames.Approved(digest=digest, source="web")
    assert isinstance(await asks(session, call), frames.Asked)  # the machine's own policy too
    assert await decides(session, call, True) == "approved"
    await finished(session, await begun(session))
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


CHANGES: dict[str, Callable[[Person, Session], Awaitable[object]]] = {
    "tool": lambda _, session: redefined(session),
    "policy": lambda person, _: policy(person, Decision.ASK, 2),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_it_asks_anew_where_something_has_changed(alice: Person, what: str) -> None:
    await policy(alice, Decision.ASK)
    session = await opened(alice)
    running = run(alice)
    await until(lambda: waits_for_approval(alice))
    shown = await pending_digest(alice)
    await CHANGES[what](alice, session)
    with pytest.raises(calls.UndecidedError) as refused:
        await on_the_web(alice, shown)
    assert refused.value.code == "changed"
    fresh = await pending_digest(alice)
    assert fresh not in {"", shown}
    assert await on_the_web(alice, fresh) is Answer.APPROVED
    await policy(alice, Decision.ASK, 3)
    assert await session.due() == []  # it was handed out to nobody
    assert await pending_digest(alice) not in {"", fresh}
    running.cancel()


async def test_it_goes_by_the_newest_version_of_its_own_policy(
    alice: Person, charlie: Person
) -> None:
    await policy(alice, Decision.ALLOW)
    await opened(alice)
    await policy(alice, Decision.DENY, 2)
    await policy(charlie, Decision.ALLOW, 3)
    with pytest.raises(RefusedError) as refused:
        await run(alice)
    assert refused.value.code == "denied"
    assert "policy" in str(refused.value)


async def test_it_refuses_at_once_what_the_policy_denies(alice: Person) -> None:
    await policy(alice, Decision.DENY)
    session = await opened(alice)
    with pytest.raises(RefusedError) as refused:
        await run(alice)
    assert refused.value.code == "denied"
    assert await session.due() == []
    row = await off_loop(ToolCall.objects.get)()
    assert (row.state, row.decision, row.policy_version) == (State.FAILED, "deny", 1)


async def test_it_fails_what_is_denied_while_it_waits(alice: Person) -> None:
    await policy(alice, Decision.ASK)
    await opened(alice)
    running = run(alice)
    await until(lambda: waits_for_approval(alice))
    shown = await pending_digest(alice)
    await policy(alice, Decision.DENY, 2)
    with pytest.raises(calls.UndecidedError) as refused:
        await on_the_web(alice, shown)
    assert refused.value.code == "denied"
    assert (await asyncio.wait_for(running, 10)).state == State.FAILED


async def test_its_question_is_not_answered_in_a_terminal(alice: Person) -> None:
    await policy(alice, Decision.ASK)
    session = await opened(alice)
    running = run(alice)
    await until(lambda: waits_for_approval(alice))
    digest = await pending_digest(alice)
    (row,) = await rows()
    forged = frames.Decide(id=row.id, digest=digest, approve=True)  # it can be computed there
    (settled,) = await session.take(forged)
    assert isinstance(settled, frames.Settled)
    assert settled.state == "unknown"
    (row,) = await rows()
    assert row.state == State.APPROVAL
    running.cancel()


async def test_what_it_denies_meanwhile_is_not_handed_out(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    await until(lambda: rows(state=State.QUEUED))
    await policy(alice, Decision.DENY)
    assert await session.due() == []
    ended = await asyncio.wait_for(running, 10)
    assert ended.state == State.FAILED
    assert "does not allow" in str(ended.result)


async def test_what_it_asks_about_meanwhile_is_handed_out_once_it_is_approved(
    alice: Person,
) -> None:
    session = await opened(alice)
    running = run(alice)
    await until(lambda: rows(state=State.QUEUED))
    await policy(alice, Decision.ASK)
    assert await session.due() == []
    assert await on_the_web(alice, await pending_digest(alice)) is Answer.APPROVED
    await finished(session, await begun(session))
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_what_it_denies_while_the_machine_asks_cannot_be_approved(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    call = await handed_out(session)
    await asks(session, call)
    await policy(alice, Decision.DENY)
    with pytest.raises(calls.UndecidedError) as refused:
        await on_the_web(alice)
    assert refused.value.code == "denied"
    assert (await asyncio.wait_for(running, 10)).state == State.FAILED
