"""A call goes straight to a session that waits for it in the process that put it in."""

import asyncio
import logging
import uuid

import pytest
from django.db import DatabaseError, IntegrityError

from accounts.tests import people
from accounts.tests.people import Person
from mcp import bell, calls, frames, handout, tools
from mcp.session import Session
from mcp.states import State
from mcp.tests.test_session import LONG_S, begun, finished, opened
from tests import tunnel
from tests.tunnel import principal_of, rows, run, until

tidy = tunnel.tidy
alice = people.alice
pytestmark = pytest.mark.usefixtures("tidy")


async def test_it_is_handed_a_call_by_whoever_put_it_in(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_ring", lambda *_: None)
    monkeypatch.setattr(bell, "POLL_S", LONG_S)
    session = await opened(alice)
    assert await session.due() == []
    waiting = asyncio.create_task(begun(session))
    await until(lambda: is_waited_at(session))
    running = run(alice)
    await finished(session, await asyncio.wait_for(waiting, 10))
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_it_gives_back_what_lay_ready_when_it_ended(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    assert await session.due() == []
    waiting = asyncio.create_task(session.next_due(LONG_S))
    await until(lambda: is_waited_at(session))
    monkeypatch.setattr(session.tray, "_wake", lambda: None)  # it ends before it has woken
    call_id = await put_in(alice)
    waiting.cancel()
    await asyncio.wait([waiting])
    await session.close()
    (row,) = await rows(id=call_id)
    assert (row.state, row.deliveries) == (State.QUEUED, 1)


async def test_it_is_not_handed_more_than_fits(alice: Person) -> None:
    session = await opened(alice)
    assert await session.due() == []
    waiting = asyncio.create_task(session.next_due(LONG_S))
    await until(lambda: is_waited_at(session))
    ids = await asyncio.gather(*(put_in(alice) for _ in range(6)))
    handed = await asyncio.wait_for(waiting, 10)
    while len(handed) < 4:
        handed += await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert len(handed) == 4  # what the machine takes at once
    call = handed[0]
    assert isinstance(call, frames.Call)
    await session.take(frames.Start(id=call.id, fence=call.fence))
    await finished(session, call)
    (fifth,) = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert isinstance(fifth, frames.Call)
    assert {one.id for one in (*handed, fifth) if isinstance(one, frames.Call)} < set(ids)


@pytest.mark.parametrize(("error", "level"), [(IntegrityError, "ERROR"), (DatabaseError, "DEBUG")])
async def test_it_says_aloud_what_a_rule_of_the_tables_forbids(
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[DatabaseError],
    level: str,
) -> None:
    def fails(*_: object) -> list[calls.Claimed]:
        raise error("no such step")

    session = await opened(alice)
    # A gateway on tables of another release, which the tests' own tables cannot be.
    monkeypatch.setattr(calls, "claim_begun", fails)
    with caplog.at_level(logging.DEBUG, "mcp.handout"):
        assert handout.lease(session.tray.holder, {uuid.uuid4()}).claimed == []
    (record,) = [one for one in caplog.records if one.name == "mcp.handout"]
    assert record.levelname == level
    assert "no such step" in record.getMessage()


async def is_waited_at(session: Session) -> bool:
    return session.tray.is_waited_at


async def put_in(person: Person) -> uuid.UUID:
    """A call that nobody waits for."""
    return await tools.submit(
        principal_of(person),
        server="files",
        tool="read",
        arguments={},
        request_id=uuid.uuid4().hex,
        tool_use_id="use",
    )
