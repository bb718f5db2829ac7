"""One session over either transport, in this process: who waits, who is woken, who ends."""

import asyncio
import threading
import uuid
from typing import Any

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import bell, calls, frames, tools, waiting
from mcp.closing import BAD_FRAME, NEWER_SESSION, SILENT, TOO_OFTEN, SessionError
from mcp.models import Connector
from mcp.session import Session
from mcp.states import State
from mcp.threads import off_loop
from tests import tunnel
from tests.tunnel import principal_of, rows, run, until

tidy = tunnel.tidy
alice, bob, charlie = people.alice, people.bob, people.charlie
pytestmark = pytest.mark.usefixtures("tidy")
POLLING = Connector.Transport.POLLING
LONG_S = 30.0  # no test waits so long: something else happens first
READ = frames.Server(
    server=frames.Announced(
        name="files",
        transport="stdio",
        state="ready",
        tools=[{"name": "read", "inputSchema": {"type": "object"}}],
    )
)


def hello(instance: uuid.UUID | None = None) -> frames.Hello:
    return frames.Hello(v=1, instance=instance or uuid.uuid4(), name="laptop")


async def opened(person: Person, instance: uuid.UUID | None = None) -> Session:
    """A session that has announced a server."""
    session, _ = await Session.open(principal_of(person), hello(instance), POLLING)
    assert await session.take(READ) == []
    return session


async def begun(session: Session) -> frames.Call:
    """The next call, begun."""
    (call,) = await session.next_due(LONG_S)
    assert isinstance(call, frames.Call)
    (started,) = await session.take(frames.Start(id=call.id, fence=call.fence))
    assert isinstance(started, frames.Started)
    return call


async def finished(session: Session, call: frames.Call) -> None:
    """Its result, taken."""
    line = b'{"type":"result","id":"%s","fence":%d,"outcome":"done","result":{"content":[]}}'
    frame = frames.from_connector(line % (str(call.id).encode(), call.fence))
    (ack,) = await session.take(frame)
    assert isinstance(ack, frames.Ack)
    assert ack.verdict == "accepted"


async def test_it_is_woken_by_the_bell(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "POLL_S", LONG_S)  # whatever comes, the bell brought it
    session = await opened(alice)
    assert await session.due() == []
    waiting = asyncio.create_task(begun(session))
    running = run(alice)
    call = await asyncio.wait_for(waiting, 10)
    await finished(session, call)
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_an_end_is_heard_of_though_its_machine_left_in_that_moment(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "POLL_S", LONG_S)  # what is heard was rung for,
    monkeypatch.setattr(waiting, "LOOK_S", LONG_S)  # and not found by a look
    written, may_go_on = threading.Event(), threading.Event()
    conclude = calls.conclude

    def concluded(*args: Any) -> Any:
        found = conclude(*args)
        written.set()
        may_go_on.wait(LONG_S)
        return found

    monkeypatch.setattr(calls, "conclude", concluded)  # holds the thread where the row is written
    session = await opened(alice)
    running = run(alice)
    call = await begun(session)
    taking = asyncio.create_task(finished(session, call))
    assert await asyncio.to_thread(written.wait, 10)
    taking.cancel()
    await asyncio.wait([taking])
    may_go_on.set()
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED


async def test_it_works_with_the_bell_cut(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_ring", lambda *_: None)
    session = await opened(alice)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    running = run(alice, told=told.put)
    call = await asyncio.wait_for(begun(session), 10)
    await session.take(frames.Progress(id=call.id, fence=call.fence, progress=1))
    assert await asyncio.wait_for(told.get(), 10) == {"progress": 1}
    await finished(session, call)
    assert (await asyncio.wait_for(running, 10)).state == State.SUCCEEDED

    running = run(alice)
    call = await asyncio.wait_for(begun(session), 10)
    running.cancel()
    (stop,) = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert stop == frames.Cancel(id=call.id, fence=call.fence)
    newer = await opened(alice, await instance_of(session))
    with pytest.raises(SessionError) as ended:
        await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert ended.value.code == NEWER_SESSION
    await newer.close()


@off_loop
def instance_of(session: Session) -> uuid.UUID:
    return Connector.objects.get(id=session.opened.connector_id).instance


async def test_it_ends_a_poll_when_another_one_comes(alice: Person) -> None:
    session = await opened(alice)
    first = asyncio.create_task(session.next_due(LONG_S))
    await until(lambda: waits(session, 1))
    second = asyncio.create_task(session.next_due(LONG_S))
    assert await asyncio.wait_for(first, 10) == []
    running = run(alice)
    (call,) = await asyncio.wait_for(second, 10)
    assert isinstance(call, frames.Call)
    running.cancel()


async def waits(session: Session, times: int) -> bool:
    return session._turn == times


async def test_it_ends_a_poll_when_its_time_is_over(alice: Person) -> None:
    session = await opened(alice)
    assert await session.next_due(0.01) == []
    assert await session.next_due(0) == []


async def test_it_is_resumed_where_it_was_opened_and_elsewhere(alice: Person) -> None:
    session = await opened(alice)
    instance, epoch = await instance_of(session), session.opened.epoch
    assert await Session.resume(principal_of(alice), instance, epoch) is session
    session.forget()  # as another process knows nothing of it
    elsewhere = await Session.resume(principal_of(alice), instance, epoch)
    assert elsewhere is not session
    running = run(alice)
    await finished(elsewhere, await begun(elsewhere))
    await running


@pytest.mark.parametrize(("later", "code"), [(-1, NEWER_SESSION), (1, SILENT)])
async def test_it_resumes_the_newest_session_only(alice: Person, later: int, code: int) -> None:
    session = await opened(alice)
    session = await opened(alice, await instance_of(session))
    with pytest.raises(SessionError) as refused:
        await Session.resume(
            principal_of(alice), await instance_of(session), session.opened.epoch + later
        )
    assert (refused.value.code, refused.value.status) == (code, code - 4000)


async def test_it_resumes_no_session_of_anybody_else(
    alice: Person, bob: Person, charlie: Person
) -> None:
    session = await opened(alice)
    for other in (bob, charlie):
        with pytest.raises(SessionError) as refused:
            await Session.resume(principal_of(other), await instance_of(session), 1)
        assert refused.value.code == SILENT


async def test_it_resumes_no_session_that_said_goodbye(alice: Person) -> None:
    session = await opened(alice)
    assert await session.take(frames.Bye()) == []
    assert session.has_ended
    await session.close()
    with pytest.raises(SessionError) as refused:
        await Session.resume(principal_of(alice), await instance_of(session), 1)
    assert refused.value.code == SILENT


async def test_it_bounds_the_frames_of_a_second(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.session.FRAMES_AT_ONCE", 2)
    session = await opened(alice)
    await session.take(frames.Renew(calls=[]))
    with pytest.raises(SessionError) as ended:
        for _ in range(100):
            await session.take(frames.Renew(calls=[]))
    assert ended.value.code == TOO_OFTEN


async def test_it_takes_one_hello(alice: Person) -> None:
    session = await opened(alice)
    with pytest.raises(SessionError) as ended:
        await session.take(hello())
    assert ended.value.code == BAD_FRAME


async def test_it_lets_so_many_machines_of_one_user_in(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.registry.MAX_CONNECTORS", 2)
    first, second = await opened(alice), await opened(alice)
    await opened(bob)
    with pytest.raises(SessionError, match="2 machines of yours") as refused:
        await opened(alice)
    assert refused.value.code == TOO_OFTEN
    await opened(alice, await instance_of(second))  # no third one
    await first.close()
    await opened(alice)  # the first one's place; a machine without a history is forgotten
    with pytest.raises(Connector.DoesNotExist):
        await instance_of(first)


async def test_it_cancels_a_call_that_nobody_waits_for(alice: Person) -> None:
    session = await opened(alice)
    running = run(alice)
    await until(lambda: rows(state=State.QUEUED))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [row.state for row in await rows()] == [State.CANCELLED]
    assert await session.due() == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"server": "nowhere"}, "no_such_server"),
        ({"tool": "fly"}, "no_such_tool"),
        ({"arguments": [1]}, "bad_arguments"),
        ({"arguments": {"a": "\ud800"}}, "bad_arguments"),
        ({"arguments": {"a": "x" * calls.MAX_ARGUMENT_BYTES}}, "too_large"),
        ({"deadline_s": 601}, "bad_deadline"),
        ({"deadline_s": float("nan")}, "bad_deadline"),
        ({"request_id": ""}, "bad_ids"),
        ({"tool_use_id": "x" * 65}, "bad_ids"),
    ],
)
async def test_it_names_why_a_call_does_not_begin(
    alice: Person, more: dict[str, Any], code: str
) -> None:
    await opened(alice)
    with pytest.raises(tools.RefusedError) as refused:
        await run(alice, **more)
    assert refused.value.code == code
    assert await rows() == []


async def test_it_says_that_a_server_is_not_ready(alice: Person) -> None:
    session = await opened(alice)
    failed = frames.Announced(name="files", transport="stdio", state="failed", error="exit code 1")
    await session.take(frames.Server(server=failed))
    assert await tools.offered(principal_of(alice)) == []
    with pytest.raises(tools.RefusedError, match="files has failed: exit code 1") as refused:
        await run(alice)
    assert refused.value.code == "not_ready"


async def test_it_gives_the_same_call_for_the_same_ids(alice: Person) -> None:
    session = await opened(alice)
    asked = {"server": "files", "tool": "read", "arguments": {}}
    ids = {"request_id": "r", "tool_use_id": "t"}
    first = await tools.submit(principal_of(alice), **asked, **ids)  # type: ignore[arg-type]
    again = asyncio.create_task(tools.run(principal_of(alice), **asked, **ids))  # type: ignore[arg-type]
    await finished(session, await begun(session))
    assert (await again).call_id == first
    view = await tools.look(principal_of(alice), first)
    assert view is not None
    assert view.ended == await again


async def test_it_shows_and_stops_only_ones_own_calls(
    alice: Person, bob: Person, charlie: Person
) -> None:
    await opened(alice)
    running = run(alice)
    (row,) = await until(lambda: rows())
    for other in (bob, charlie):
        assert await tools.look(principal_of(other), row.id) is None
        assert await tools.cancel(principal_of(other), row.id) is False
    assert await tools.cancel(principal_of(alice), row.id) is True
    assert await tools.cancel(principal_of(alice), row.id) is False
    assert (await running).state == State.CANCELLED
