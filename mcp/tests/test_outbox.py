"""What a session sends when another process has rung: without a look where none is needed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import bell, frames, handout, living, tools
from mcp.calls import Holder
from mcp.handout import Due
from mcp.models import Connector
from mcp.session import Session
from mcp.tests.test_handout import is_waited_at, put_in
from mcp.tests.test_session import LONG_S, finished, opened
from mcp.threads import off_loop
from tests import tunnel
from tests.tunnel import principal_of, until

tidy = tunnel.tidy
alice = people.alice
Look = Callable[[Holder], Awaitable[Due]]


@pytest.fixture(autouse=True)
def elsewhere(tidy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are put in as if by another process, and what nobody rings for is not looked for."""
    monkeypatch.setattr(living, "tray_of", lambda _: None)
    monkeypatch.setattr(bell, "POLL_S", LONG_S)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Holder]:
    """Each look at the database for everything that is due."""
    seen: list[Holder] = []
    look: Look = handout._look

    async def counted(holder: Holder) -> Due:
        seen.append(holder)
        return await look(holder)

    monkeypatch.setattr(handout, "_look", counted)
    return seen


async def waiting(session: Session) -> asyncio.Task[list[frames.Frame]]:
    """Somebody who waits for what is due, after a look that left nothing."""
    task = waited(session)
    await until(lambda: is_waited_at(session))
    return task


def waited(session: Session) -> asyncio.Task[list[frames.Frame]]:
    return asyncio.create_task(session.next_due(LONG_S))


async def handed(task: asyncio.Task[list[frames.Frame]]) -> list[frames.Call]:
    found = await asyncio.wait_for(task, 10)
    return [one for one in found if isinstance(one, frames.Call)]


async def test_a_new_call_is_handed_out_without_a_look(alice: Person, looks: list[Holder]) -> None:
    session = await opened(alice)
    task = await waiting(session)
    assert len(looks) == 1
    call_id = await put_in(alice)
    assert [one.id for one in await handed(task)] == [call_id]
    again = await waiting(session)  # nothing has come since
    assert len(looks) == 1
    again.cancel()


async def test_a_call_that_nobody_rang_for_comes_with_the_next(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    task = await waiting(session)
    with unheard(monkeypatch):
        first = await put_in(alice)
    second = await put_in(alice)
    assert [one.id for one in await handed(task)] == [first, second]


async def test_a_new_call_waits_for_the_room_that_an_older_one_took(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    await one_at_a_time(session)
    task = await waiting(session)
    with unheard(monkeypatch):
        first = await put_in(alice)
    second = await put_in(alice)
    (call,) = await handed(task)
    assert call.id == first
    await session.take(begin(call))
    task = await waiting(session)
    await finished(session, call)
    assert [one.id for one in await handed(task)] == [second]


async def test_a_cancellation_is_heard_beside_a_new_call(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    task = await waiting(session)
    first = await put_in(alice)
    (call,) = await handed(task)
    assert isinstance((await session.take(begin(call)))[0], frames.Started)
    task = await waiting(session)
    with unheard(monkeypatch):
        assert await tools.cancel(principal_of(alice), first)
        second = await put_in(alice)
    ring(session)
    ring(session, second)
    stop, new = await asyncio.wait_for(task, 10)
    assert stop == frames.Cancel(id=call.id, fence=call.fence)
    assert isinstance(new, frames.Call)
    assert new.id == second


async def test_a_call_without_room_comes_when_there_is(alice: Person, looks: list[Holder]) -> None:
    session = await opened(alice)
    await one_at_a_time(session)
    task = await waiting(session)
    await put_in(alice)
    (call,) = await handed(task)
    await session.take(begin(call))
    task = await waiting(session)
    second = await put_in(alice)
    await until(lambda: has_looked(looks, 2))
    assert not task.done()
    await finished(session, call)
    assert [one.id for one in await handed(task)] == [second]


async def test_what_was_rung_for_beside_the_tray_is_handed_out_too(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    task = await waiting(session)
    with unheard(monkeypatch):
        first = await put_in(alice)
        leased = await off_loop(handout.lease)(session.tray.holder, {first})
        second = await put_in(alice)
    assert session.tray.lay(leased)
    ring(session, second)
    assert [one.id for one in await handed(task)] == [first]
    assert [one.id for one in await handed(waited(session))] == [second]


async def test_who_will_not_wait_is_handed_what_was_rung_for(alice: Person) -> None:
    session = await opened(alice)
    assert await session.next_due(0) == []
    call_id = await put_in(alice)
    await until(lambda: has_heard(session))
    (call,) = await session.next_due(0)
    assert isinstance(call, frames.Call)
    assert call.id == call_id


async def test_a_poll_that_is_left_early_leaves_the_tray_to_the_next(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    task = await waiting(session)
    with unheard(monkeypatch):
        call_id = await put_in(alice)
        leased = await off_loop(handout.lease)(session.tray.holder, {call_id})
    asked = asyncio.Event()

    async def hangs() -> list[frames.Frame]:
        asked.set()
        await asyncio.Event().wait()
        return []

    with monkeypatch.context() as slow:
        slow.setattr(session._prompts, "settled", hangs)
        assert session.tray.lay(leased)
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        await asyncio.wait([task])
    assert [one.id for one in await handed(waited(session))] == [call_id]


async def test_a_second_poll_is_waited_at_when_the_first_has_left(alice: Person) -> None:
    session = await opened(alice)
    first = await waiting(session)
    second = waited(session)
    assert await asyncio.wait_for(first, 10) == []
    assert session.tray.is_waited_at
    second.cancel()


async def test_a_ring_for_what_was_handed_out_is_forgotten(
    alice: Person, looks: list[Holder]
) -> None:
    session = await opened(alice)
    call_id = await put_in(alice)
    (call,) = await session.next_due(LONG_S)
    assert isinstance(call, frames.Call)
    assert call.id == call_id
    task = await waiting(session)
    assert len(looks) == 1  # the ring itself, which it had answered, needs none
    task.cancel()


@contextmanager
def unheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No ring arrives."""
    with monkeypatch.context() as cut:
        cut.setattr(bell, "_ring", lambda *_: None)
        yield


def ring(session: Session, call: UUID | None = None) -> None:
    """At once, so that several are heard together."""
    note = bell.Note(kind=bell.WORK, body={} if call is None else {"call": call.hex})
    bell.current().hear("connector", session.opened.connector_id, note)


def begin(call: frames.Call) -> frames.Start:
    return frames.Start(id=call.id, fence=call.fence)


async def has_heard(session: Session) -> bool:
    return not session._outbox.is_quiet


async def has_looked(looks: list[Holder], times: int) -> bool:
    return len(looks) >= times


@off_loop
def one_at_a_time(session: Session) -> None:
    Connector.objects.filter(id=session.opened.connector_id).update(max_in_flight=1)
