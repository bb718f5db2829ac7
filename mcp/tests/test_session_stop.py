"""Sessions of machines when the process stops."""

import asyncio

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import beside, frames, living
from mcp.closing import AWAY, SessionError
from mcp.states import State
from mcp.tests.test_session import LONG_S, instance_of, opened, waits
from tests import tunnel
from tests.tunnel import rows, run, until

tidy = tunnel.tidy
alice = people.alice
pytestmark = pytest.mark.usefixtures("tidy")


async def test_it_ends_all_when_the_process_stops(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    waiting = asyncio.create_task(session.next_due(LONG_S))
    await until(lambda: waits(session, 1))
    monkeypatch.setattr(living, "is_stopping", False)  # so that its end is undone with the test
    await beside.say_goodbye()
    with pytest.raises(SessionError) as ended:
        await waiting
    assert (ended.value.code, ended.value.status) == (1001, 503)
    with pytest.raises(SessionError) as refused:
        await opened(alice)
    assert refused.value.code == AWAY


async def test_a_call_waits_for_a_machine_that_moves(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(alice)
    monkeypatch.setattr(living, "is_stopping", False)  # so that its end is undone with the test
    await beside.say_goodbye()
    await session.close()
    running = run(alice)
    await until(lambda: rows(state=State.QUEUED))
    monkeypatch.setattr(living, "is_stopping", False)  # it comes back, to another process
    successor = await opened(alice, await instance_of(session))
    (call,) = [one for one in await successor.due() if isinstance(one, frames.Call)]
    assert call.server == "files"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
