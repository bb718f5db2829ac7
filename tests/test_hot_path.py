"""A request after the first costs no thread, no signal and no query outside the writer's.

The server's process hides all this, so here the application runs in the test's own event loop.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import wait
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.core.signals import request_finished, request_started
from django.db import connection
from django.db.backends.utils import CursorWrapper

from accounts import auth
from billing import tariff, writer
from billing.models import UsageRecord
from opscenter.asgi import application
from proxy import connections, table
from tests import answers
from tests.conftest import lead_to
from tests.turns import text_turn
from tests.upstream import Upstream as ScriptedUpstream

TIMES = 20  # enough that a cost per request cannot hide, few enough to stay within one memory
WAIT_S = 10
END_S = 5  # an ended request ends at once; shorter than WAIT_S, whose end would look the same
BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": []}


class Conversation:
    """One request to the application, as an ASGI server would bring it."""

    def __init__(
        self, key: str, body: dict[str, Any], path: str = "/v1/messages", method: str = "POST"
    ) -> None:
        self.sent: list[Any] = []
        self.begun = asyncio.Event()
        self._gone = asyncio.Event()
        self._incoming = [{"type": "http.request", "body": json.dumps(body).encode()}]
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", f"Bearer {key}".encode()),
                (b"content-type", b"application/json"),
            ],
        }

    async def held(self) -> "Conversation":
        """Take it to its end."""
        async with asyncio.timeout(WAIT_S):  # not wait_for: it would answer a cancellation itself
            await application(self._scope, self._receive, self._send)
        return self

    def leave(self) -> None:
        """The client hangs up."""
        self._gone.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def _receive(self) -> dict[str, Any]:
        if self._incoming:
            return self._incoming.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.begun.set()


@pytest.fixture
async def loop_ended(transactional_db: None) -> AsyncIterator[None]:
    """Ends what the application keeps for each event loop, as the server does when it stops."""
    table._memory.forget(None)  # routes that an earlier test of this process has read
    yield
    await connections.shutdown()
    await writer.shutdown()
    # What the test read was read on a thread of its loop, which keeps its connection.
    await sync_to_async(lambda: connection.close())()


@pytest.fixture
def routed_key(key: str, upstream: ScriptedUpstream) -> str:
    """A key of Alice's, while every model leads to the scripted upstream."""
    lead_to(upstream.url)
    return key


async def rows() -> list[tuple[str, int | None]]:
    """State and status of every row, once all that was promised is written."""
    await writer.current().drain()
    ordered = UsageRecord.objects.order_by("admitted_at")
    return [(row.state, row.status) async for row in ordered]


class Counted:
    """Counts what happens, and lets it happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.thread_hops = 0
        self.signals = 0
        self.querying_threads: set[str] = set()
        # Wrapped, not replaced: neither is our code, and there is no other way to see the calls.
        hop, execute, executemany = (
            SyncToAsync.__call__,
            CursorWrapper.execute,
            CursorWrapper.executemany,
        )

        async def hopping(made: Any, *args: Any, **kwargs: Any) -> Any:
            self.thread_hops += 1
            return await hop(made, *args, **kwargs)

        def querying(real: Callable[..., Any]) -> Callable[..., Any]:
            def on(*args: Any, **kwargs: Any) -> Any:
                self.querying_threads.add(threading.current_thread().name)
                return real(*args, **kwargs)

            return on

        monkeypatch.setattr(SyncToAsync, "__call__", hopping)
        monkeypatch.setattr(CursorWrapper, "execute", querying(execute))
        monkeypatch.setattr(CursorWrapper, "executemany", querying(executemany))

    def signal(self, **_: Any) -> None:
        self.signals += 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Counted]]:
    """Starts to count when it is called, until the end of the test."""
    started: list[Counted] = []

    def start() -> Counted:
        # That a key was used is written down by a thread of its own, which may be late.
        assert not wait(auth._under_way.copy(), WAIT_S).not_done
        started.append(Counted(monkeypatch))
        for signal in (request_started, request_finished):
            signal.connect(started[-1].signal)
        return started[-1]

    yield start
    for each in started:
        for signal in (request_started, request_finished):
            assert signal.disconnect(each.signal)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_leaves_the_event_loop_only_for_the_group_commit(
    routed_key: str, counted: Callable[[], Counted], streaming: bool
) -> None:
    body = BODY | {"stream": streaming}
    first = await Conversation(routed_key, body).held()
    assert first.status == 200
    threads, count = set(threading.enumerate()), counted()
    for _ in range(TIMES):
        conversation = await Conversation(routed_key, body).held()
        assert (conversation.status, b"Hello" in conversation.body) == (200, True)
    await writer.current().drain()
    assert (count.thread_hops, count.signals) == (0, 0)
    assert set(threading.enumerate()) <= threads
    assert {name.partition("_")[0] for name in count.querying_threads} == {"writer"}
    assert await rows() == [("completed", 200)] * (TIMES + 1)


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_does_as_much_for_many_requests_at_once(
    routed_key: str, counted: Callable[[], Counted]
) -> None:
    body = BODY | {"stream": True}
    await Conversation(routed_key, body).held()
    threads, count = set(threading.enumerate()), counted()
    many = await asyncio.gather(*(Conversation(routed_key, body).held() for _ in range(TIMES)))
    assert {conversation.status for conversation in many} == {200}
    await writer.current().drain()
    assert (count.thread_hops, count.signals) == (0, 0)
    assert set(threading.enumerate()) <= threads
    assert await rows() == [("completed", 200)] * (TIMES + 1)


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_counts_what_goes_another_way(counted: Callable[[], Counted]) -> None:
    """The counters above see something, where there is something to see."""
    count = counted()
    assert (await Conversation("nobody's", BODY, path="/api/hello").held()).status == 403
    assert count.thread_hops > 0
    assert count.signals == 2


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_shares_one_read_of_the_tables_among_all_who_come_first(
    routed_key: str, counted: Callable[[], Counted]
) -> None:
    tariff.forget()  # prices that an earlier test of this process has read
    count = counted()
    await asyncio.gather(*(Conversation(routed_key, BODY).held() for _ in range(TIMES)))
    assert count.thread_hops == 4  # one read each of the key, the routes, the terms, the prices


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_lists_models_from_memory(routed_key: str, counted: Callable[[], Counted]) -> None:
    await Conversation(routed_key, {}, "/v1/models", "GET").held()
    count = counted()
    for _ in range(TIMES):
        listed = await Conversation(routed_key, {}, "/v1/models", "GET").held()
        assert (listed.status, b"claude-opus-5-5" in listed.body) == (200, True)
    assert (count.thread_hops, count.signals, count.querying_threads) == (0, 0, set())


async def interrupted(
    work: asyncio.Task[Conversation], upstream: ScriptedUpstream, end: Callable[[], Any]
) -> None:
    await asyncio.to_thread(upstream.wait_for, 1)
    end()
    await asyncio.wait([work], timeout=END_S)
    assert work.done()
    assert await asyncio.to_thread(upstream.requests[0].left)


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_settles_a_request_whose_client_leaves_before_the_first_byte(
    routed_key: str, upstream: ScriptedUpstream
) -> None:
    upstream.script(answers.silent())
    conversation = Conversation(routed_key, BODY)
    work = asyncio.create_task(conversation.held())
    await interrupted(work, upstream, conversation.leave)
    assert work.exception() is None, "a client that leaves is nothing unusual to the server"
    assert conversation.sent == []
    assert await rows() == [("interrupted", None)]


@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_settles_a_stream_whose_client_leaves_in_the_middle(
    routed_key: str, upstream: ScriptedUpstream
) -> None:
    upstream.script(answers.stream([*text_turn().events()[:4], answers.End.HANG]))
    conversation = Conversation(routed_key, BODY | {"stream": True})
    work = asyncio.create_task(conversation.held())
    await asyncio.wait_for(conversation.begun.wait(), WAIT_S)
    await interrupted(work, upstream, conversation.leave)
    assert work.exception() is None
    assert await rows() == [("interrupted", 200)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("loop_ended", "memory_kept")
async def test_it_says_that_the_server_stops_and_settles(
    routed_key: str, upstream: ScriptedUpstream, streaming: bool
) -> None:
    opening: list[answers.Step] = [*map(answers.sse, text_turn().events()[:4]), answers.End.HANG]
    upstream.script(answers.stream(opening) if streaming else answers.silent())
    conversation = Conversation(routed_key, BODY | {"stream": streaming})
    work = asyncio.create_task(conversation.held())
    if streaming:
        await asyncio.wait_for(conversation.begun.wait(), WAIT_S)
    await interrupted(work, upstream, work.cancel)
    assert work.exception() is None, "the server would log a traceback"
    assert b"This gateway is restarting" in conversation.sent[-1]["body"]
    assert conversation.sent[0]["status"] == (200 if streaming else 503)
    assert await rows() == [("interrupted", 200 if streaming else None)]


async def test_it_writes_what_is_left_when_the_server_stops(
    routed_key: str, transactional_db: None
) -> None:
    """The lifespan's end waits for the row that nobody waited for."""
    table._memory.forget(None)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(application({"type": "lifespan"}, told.get, said.put))
    await Conversation(routed_key, BODY).held()
    await told.put({"type": "lifespan.shutdown"})
    assert (await asyncio.wait_for(said.get(), WAIT_S))["type"] == "lifespan.shutdown.complete"
    await asyncio.wait_for(living, WAIT_S)
    states = [row.state async for row in UsageRecord.objects.all()]
    assert states == ["completed"]
    await sync_to_async(lambda: connection.close())()
