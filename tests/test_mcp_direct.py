"""Calls of servers that the gateway reaches itself, through the queue."""

import asyncio
import json
import threading

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import bell, calls, direct, direct_rows, direct_worker
from mcp.direct_ears import Ears
from mcp.direct_worker import Worker
from mcp.models import Connector, McpServer, ToolCall
from mcp.states import State
from mcp.threads import off_loop
from tests import mcp_asking
from tests import mcp_http as scripted
from tests.mcp_asking import WITHIN_S, asked, ended, eventually, principal, text_of
from tests.mcp_http import LEGACY, Json, McpHttp, Talk, said, tool

alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written
mcp_http, era = scripted.mcp_http, mcp_asking.era
allowed, worker = mcp_asking.allowed, mcp_asking.worker

pytestmark = pytest.mark.django_db(transaction=True)


async def test_it_runs_a_call(alice: Person, mcp_http: McpHttp, worker: Worker, era: str) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call = await ended(await asked(server, "echo", {"city": "Köln"}))
    assert (call.state, call.starts, call.outcome) == (State.SUCCEEDED, 1, "done")
    assert json.loads(text_of(call)) == {"city": "Köln"}


async def test_it_runs_many_at_once_but_no_more_than_the_user_may(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    together = threading.Barrier(direct_rows.MAX_IN_FLIGHT)
    counted = threading.Lock()
    under_way = most = 0

    def counts(talk: Talk, params: Json) -> None:
        nonlocal under_way, most
        with counted:
            under_way += 1
            most = max(most, under_way)
        together.wait(WITHIN_S)  # breaks unless so many are there at once
        with counted:
            under_way -= 1
        talk.answer(said("done"))

    mcp_http.does["counts"] = counts
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    ids = [await asked(server, "counts") for _ in range(2 * direct_rows.MAX_IN_FLIGHT)]
    assert {(await ended(each)).state for each in ids} == {State.SUCCEEDED}
    assert most == direct_rows.MAX_IN_FLIGHT


async def test_it_opens_one_session_for_many_calls(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    mcp_http.era = LEGACY
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    ids = [await asked(server, "echo") for _ in range(10)]
    assert {(await ended(each)).state for each in ids} == {State.SUCCEEDED}
    assert mcp_http.methods().count("initialize") == 2  # to register, and to call


async def test_it_shows_a_new_credential_at_once(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url, "old")
    await ended(await asked(server, "echo"))
    await direct.register(principal(alice), "weather", mcp_http.url, "new")
    await ended(await asked(server, "echo"))
    assert mcp_http.last("tools/call").headers["authorization"] == "Bearer new"


async def test_it_repeats_arguments_in_headers(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    mcp_http.tools = [tool("echo", inputSchema={"type": "object", "properties": {"r": region}})]
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    await ended(await asked(server, "echo", {"r": "eu"}))
    assert mcp_http.last("tools/call").headers["mcp-param-region"] == "eu"


async def test_it_writes_progress_down(
    alice: Person, mcp_http: McpHttp, worker: Worker, era: str
) -> None:
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def works(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(1, total=2, message="half", more="than we tell")
        asyncio.run_coroutine_threadsafe(seen.wait(), loop).result(WITHIN_S)
        talk.answer_event(said("done"))
        talk.close_connection = True

    mcp_http.does["works"] = works
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call_id = await asked(server, "works")
    call = await eventually(
        lambda: ToolCall.objects.filter(id=call_id, progress__isnull=False).first()
    )
    assert call.progress == {"progress": 1, "total": 2, "message": "half"}
    seen.set()
    assert (await ended(call_id)).state == State.SUCCEEDED


async def test_it_stops_what_is_cancelled(
    alice: Person, mcp_http: McpHttp, monkeypatch: pytest.MonkeyPatch, worker: Worker, era: str
) -> None:
    monkeypatch.setattr(calls, "RENEW_S", 3600.0)  # nobody waits for the next renewal

    def slow(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(0)
        talk.hang()

    mcp_http.does["slow"] = slow
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call_id = await asked(server, "slow")
    await asyncio.to_thread(mcp_http.wait_for, "tools/call")
    assert await off_loop(calls.cancel)(alice.organization.id, call_id)
    assert (await ended(call_id)).state == State.CANCELLED
    assert await asyncio.to_thread(mcp_http.left.wait, WITHIN_S)
    if era == LEGACY:
        assert mcp_http.last("notifications/cancelled")


async def test_it_hears_the_bell(
    alice: Person, mcp_http: McpHttp, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "RENEW_S", 0.0)  # between two looks at who is there
    monkeypatch.setattr(bell, "POLL_S", 3600.0)
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    for _ in range(WITHIN_S * 100):
        if server.connector_id in bell.current()._connectors:
            break
        await asyncio.sleep(0.01)
    monkeypatch.setattr(direct_worker, "IDLE_S", 3600.0)  # from now on only the bell wakes it
    for _ in range(3):
        call_id = await asked(server, "echo")
        bell.ring_connector(server.connector_id)
        assert (await ended(call_id)).state == State.SUCCEEDED


async def test_it_listens_only_for_who_is_there(alice: Person, mcp_http: McpHttp) -> None:
    ears = Ears()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    await ears.refresh()
    bell.ring_connector(server.connector_id)
    await asyncio.wait_for(ears.wait(3600), WITHIN_S)
    await off_loop(McpServer.objects.all().delete)()
    await off_loop(Connector.objects.all().delete)()
    await ears.refresh()
    assert bell.current()._connectors == {}
    await bell.shutdown()


async def test_two_workers_run_each_call_once(alice: Person, mcp_http: McpHttp) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    ids = [await asked(server, "echo") for _ in range(6)]
    one, other = Worker(), Worker()
    await asyncio.gather(one.step(), other.step())
    assert {(await ended(each)).state for each in ids} == {State.SUCCEEDED}
    assert mcp_http.methods().count("tools/call") == 6
    for worker in (one, other):
        await worker.end(5)


async def test_it_bounds_what_one_process_runs(alice: Person, mcp_http: McpHttp) -> None:
    mcp_http.does["slow"] = lambda talk, params: talk.hang()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    for _ in range(5):
        await asked(server, "slow")
    worker = Worker(most=3)
    assert await worker.step() == 3
    assert await worker.step() == 0
    await worker.end(0.1)
