"""Servers that the gateway reaches itself: registered by a URL, called through the queue."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import pytest

from accounts import reads, sealed
from accounts.principal import SCOPES, Principal
from accounts.reads import DatabaseAwayError
from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, clock, direct, direct_calls, direct_rows, direct_worker, targets
from mcp.calls import NewCall
from mcp.direct import NotRegisteredError
from mcp.direct_worker import Worker
from mcp.models import Connector, McpServer, McpTool, ToolCall
from mcp.states import FINAL, State
from mcp.threads import off_loop
from tests import gateway as gateways
from tests import mcp_http as scripted
from tests.mcp_http import LEGACY, MODERN, Json, McpHttp, Talk, said, tool

alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written
mcp_http = scripted.mcp_http

T = TypeVar("T")
WITHIN_S = 20  # a bound for what takes a second at most
_lookers = ThreadPoolExecutor(2, thread_name_prefix="tests")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.MCP_HTTP_ALLOW = targets.allowed(["127.0.0.1"])


def principal(person: Person) -> Principal:
    return Principal(
        organization_id=person.organization.id,
        user_id=person.user.pk,
        key_id="key",
        scopes=frozenset(SCOPES),
    )


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    """A worker that nobody wakes: it looks by itself, more often than usual."""
    monkeypatch.setattr(direct_worker, "IDLE_S", 0.05)
    worker, stop = Worker(), asyncio.Event()
    task = asyncio.create_task(worker.run(stop, asyncio.sleep))
    yield worker
    stop.set()
    await asyncio.wait_for(task, WITHIN_S)
    await worker.close(5)


async def eventually(found: Callable[[], T | None]) -> T:
    """What `found` gives as soon as it gives something, looked at on a thread of the tests."""
    look = reads.off_loop(gateways.eventually, on=_lookers)
    return cast("T", await look(found, WITHIN_S))


async def asked(
    server: McpServer, name: str, arguments: Json | None = None, **more: Any
) -> uuid.UUID:
    """Put a call into the queue."""

    def put() -> uuid.UUID:
        connector = Connector.objects.get(id=server.connector_id)
        fields: dict[str, Any] = {
            "organization_id": connector.organization_id,
            "user_id": connector.user_id,
            "connector_id": connector.id,
            "server": server.name,
            "tool": name,
            "params": json.dumps({"name": name, "arguments": arguments or {}}),
            "has_effects": True,
            "request_id": uuid.uuid4().hex,
            "tool_use_id": "t",
            "deadline_s": 30.0,
        }
        return calls.enqueue(NewCall(**fields | more))

    return await off_loop(put)()


async def ended(call_id: uuid.UUID) -> ToolCall:
    return await eventually(lambda: ToolCall.objects.filter(id=call_id, state__in=FINAL).first())


def text_of(call: ToolCall) -> str:
    assert call.result is not None
    return str(json.loads(call.result)["content"][0]["text"])


@pytest.fixture(params=[MODERN, LEGACY])
def era(request: pytest.FixtureRequest, mcp_http: McpHttp) -> str:
    mcp_http.era = request.param
    return mcp_http.era


async def test_it_registers_a_server_with_its_tools(
    alice: Person, mcp_http: McpHttp, era: str
) -> None:
    mcp_http.credential = "hunter2"
    server = await direct.register(principal(alice), "weather", mcp_http.url, "hunter2")

    def look() -> None:
        row = McpServer.objects.get(id=server.id)
        assert (row.name, row.state, row.transport, row.era) == ("weather", "ready", "http", era)
        assert (row.url, row.version) == (mcp_http.url, "1.2")
        assert "hunter2" not in row.credential_sealed
        assert sealed.opened(row.credential_sealed) == "hunter2"
        assert [each.name for each in row.tools.all()] == ["echo", "other"]
        connector = row.connector
        assert (connector.kind, connector.user_id) == ("gateway", alice.user.pk)

    await off_loop(look)()
    if era == LEGACY:
        assert mcp_http.methods()[-1] == "DELETE"


async def test_it_replaces_a_server_of_the_same_name(alice: Person, mcp_http: McpHttp) -> None:
    first = await direct.register(principal(alice), "weather", mcp_http.url, "old")
    mcp_http.tools = [tool("third")]
    second = await direct.register(principal(alice), "weather", mcp_http.url)
    assert first.id == second.id

    def look() -> None:
        assert McpServer.objects.get().credential_sealed == ""
        assert [each.name for each in McpTool.objects.all()] == ["third"]
        assert Connector.objects.count() == 1

    await off_loop(look)()


async def test_it_keeps_people_apart(
    alice: Person, bob: Person, charlie: Person, mcp_http: McpHttp
) -> None:
    for person in (alice, bob, charlie):
        await direct.register(principal(person), "weather", mcp_http.url)
    assert await off_loop(Connector.objects.count)() == 3
    assert await off_loop(McpServer.objects.count)() == 3


@pytest.mark.parametrize(
    ("name", "url", "credential", "field"),
    [
        ("", "https://8.8.8.8", "", "name"),
        ("two words", "https://8.8.8.8", "", "name"),
        ("a" * 65, "https://8.8.8.8", "", "name"),
        ("weather", "http://8.8.8.8", "", "url"),
        ("weather", "https://127.0.0.2", "", "url"),
        ("weather", "https://no-such-host.invalid", "", "url"),
        ("weather", "https://8.8.8.8", "two\nlines", "credential"),
        ("weather", "https://8.8.8.8", " ", "credential"),
        ("weather", "https://8.8.8.8", "ключ", "credential"),
        ("weather", "https://8.8.8.8", "a" * 4097, "credential"),
    ],
)
async def test_it_says_which_field_is_wrong(
    alice: Person, name: str, url: str, credential: str, field: str
) -> None:
    with pytest.raises(NotRegisteredError) as caught:
        await direct.register(principal(alice), name, url, credential)
    assert caught.value.field == field
    assert not await off_loop(McpServer.objects.exists)()


async def test_it_takes_no_server_that_does_not_answer(alice: Person, mcp_http: McpHttp) -> None:
    with pytest.raises(NotRegisteredError, match="takes no connection"):
        await direct.register(principal(alice), "a", f"http://127.0.0.1:{gateways.free_port()}/")
    mcp_http.credential = "hunter2"
    with pytest.raises(NotRegisteredError) as caught:
        await direct.register(principal(alice), "a", mcp_http.url, "wrong")
    assert caught.value.field == "credential"
    assert not await off_loop(Connector.objects.exists)()


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


async def test_it_tells_how_a_call_failed(alice: Person, mcp_http: McpHttp, worker: Worker) -> None:
    long = "x" * 100_000
    mcp_http.does |= {
        "fails": lambda talk, params: talk.answer(said("no such city", isError=True)),
        "invalid": lambda talk, params: talk.fail(-32602, data={"long": long}),
        "odd": lambda talk, params: talk.answer({"content": "text"}),
        "busy": lambda talk, params: talk.plain(503),
    }
    server = await direct.register(principal(alice), "weather", mcp_http.url)

    async def outcome(name: str, **more: Any) -> tuple[str, str]:
        call = await ended(await asked(server, name, **more))
        assert call.state == State.FAILED
        return call.outcome, call.result or ""

    assert (await outcome("fails"))[0] == "done"
    told, result = await outcome("invalid")
    assert (told, json.loads(result)) == ("error", {"code": -32602, "message": "error -32602"})
    assert (await outcome("odd"))[0] == "interrupted"
    assert (await outcome("odd", has_effects=False))[0] == "error"
    told, result = await outcome("busy")
    assert (told, json.loads(result)["code"]) == ("error", direct_calls.UNREACHED)
    assert "weather: It answered with the status 503." in result


async def test_it_says_that_nobody_knows_where_the_answer_is_lost(
    alice: Person, mcp_http: McpHttp, worker: Worker, era: str
) -> None:
    def dies(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(1)
        talk.cut()

    mcp_http.does["dies"] = dies
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call = await ended(await asked(server, "dies"))
    assert (call.state, call.outcome, call.starts) == (State.FAILED, "interrupted", 1)
    call = await ended(await asked(server, "dies", has_effects=False))
    assert (call.state, call.outcome) == (State.FAILED, "error")
    assert mcp_http.methods().count("tools/call") == 2


async def test_it_stops_what_is_cancelled(
    alice: Person, mcp_http: McpHttp, worker: Worker, era: str
) -> None:
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


async def test_it_gives_up_when_the_time_is_over(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    mcp_http.does["slow"] = lambda talk, params: talk.hang()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call = await ended(await asked(server, "slow", deadline_s=2.0))
    assert (call.state, call.outcome) == (State.FAILED, "interrupted")
    assert await asyncio.to_thread(mcp_http.left.wait, WITHIN_S)


async def test_it_takes_no_answer_that_is_too_large(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    poured: list[int] = []

    def pours(talk: Talk, params: Json) -> None:
        talk.send_response(200)
        talk.send_header("content-type", "application/json")
        talk.send_header("content-length", str(200 * 2**20))
        talk.end_headers()
        try:
            for _ in range(3200):
                talk.wfile.write(b"0" * 65536)
                poured.append(65536)
        except OSError:
            talk.close_connection = True

    mcp_http.does |= {
        "pours": pours,
        "long": lambda talk, params: talk.answer(said("x" * (calls.MAX_RESULT_BYTES + 1))),
    }
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    for name in ("pours", "long"):
        call = await ended(await asked(server, name))
        assert (call.state, call.outcome) == (State.FAILED, "done")
        assert "larger than" in text_of(call)
    assert sum(poured) < 40 * 2**20


async def test_it_follows_no_redirect_to_a_private_address(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    with scripted.McpHttp() as inside:  # nobody serves it: a connection would hang, not fail
        mcp_http.does["moved"] = lambda talk, params: talk.plain(307, location=inside.url)
        server = await direct.register(principal(alice), "weather", mcp_http.url)
        call = await ended(await asked(server, "moved"))
        assert call.outcome == "error"
        assert "Redirects are not followed" in (call.result or "")
        assert inside.heard == []


async def test_it_says_so_where_the_server_is_gone(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    await off_loop(McpServer.objects.filter(id=server.id).update)(url="https://127.0.0.1:1/")
    call = await ended(await asked(server, "echo"))
    assert (call.outcome, "takes no connection" in (call.result or "")) == ("error", True)
    await off_loop(McpServer.objects.filter(id=server.id).update)(url="https://127.0.0.2/")
    call = await ended(await asked(server, "echo"))
    assert (call.outcome, "not known" in (call.result or "")) == ("error", True)
    await off_loop(McpServer.objects.filter(id=server.id).delete)()
    call = await ended(await asked(server, "echo"))
    assert (call.outcome, "not registered" in (call.result or "")) == ("error", True)


async def test_it_says_so_where_the_credential_cannot_be_read(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url, "hunter2")
    await off_loop(McpServer.objects.filter(id=server.id).update)(credential_sealed="gAAAA")
    call = await ended(await asked(server, "echo"))
    assert (call.outcome, "register it again" in (call.result or "")) == ("error", True)


async def test_it_asks_for_tools_again(alice: Person, mcp_http: McpHttp) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    worker = Worker()
    await worker.look_after()  # too early
    assert mcp_http.methods().count("tools/list") == 1
    mcp_http.tools = [tool("third")]

    async def again() -> McpServer:
        old = clock.after(-direct_rows.LIST_S - 5)
        await off_loop(McpServer.objects.filter(id=server.id).update)(updated_at=old)
        await worker.look_after()
        await asyncio.gather(*worker._listing)
        return await off_loop(McpServer.objects.get)(id=server.id)

    assert (await again()).state == "ready"
    assert await off_loop(lambda: [t.name for t in McpTool.objects.all()])() == ["third"]
    mcp_http.credential = "changed"
    row = await again()
    assert (row.state, row.error) == ("failed", "It wants another credential.")
    assert await off_loop(McpTool.objects.count)() == 1  # they stay known
    mcp_http.credential = ""
    row = await again()
    assert (row.state, row.error) == ("ready", "")
    await worker.close(1)


async def test_it_ends_what_it_began_when_it_stops(alice: Person, mcp_http: McpHttp) -> None:
    mcp_http.does["slow"] = lambda talk, params: talk.hang()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    effectful = await asked(server, "slow")
    harmless = await asked(server, "slow", has_effects=False)
    worker = Worker()
    assert await worker.step() == 2
    await eventually(lambda: len([m for m in mcp_http.methods() if m == "tools/call"]) == 2)
    await worker.close(0.1)
    call = await ended(effectful)
    assert (call.state, call.outcome) == (State.FAILED, "interrupted")
    row = await off_loop(ToolCall.objects.get)(id=harmless)
    assert row.state == State.RUNNING  # until its lease is over: then another process runs it


async def test_two_workers_run_each_call_once(alice: Person, mcp_http: McpHttp) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    ids = [await asked(server, "echo") for _ in range(6)]
    one, other = Worker(), Worker()
    await asyncio.gather(one.step(), other.step())
    assert {(await ended(each)).state for each in ids} == {State.SUCCEEDED}
    assert mcp_http.methods().count("tools/call") == 6
    for worker in (one, other):
        await worker.close(5)


async def test_it_bounds_what_one_process_runs(alice: Person, mcp_http: McpHttp) -> None:
    mcp_http.does["slow"] = lambda talk, params: talk.hang()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    for _ in range(5):
        await asked(server, "slow")
    worker = Worker(most=3)
    assert await worker.step() == 3
    assert await worker.step() == 0
    await worker.close(0.1)


async def test_it_keeps_running_without_a_database(
    alice: Person, mcp_http: McpHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call_id = await asked(server, "echo")
    real, tries = calls.finish, []

    def away_at_first(*args: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise DatabaseAwayError("away")
        return real(*args)

    monkeypatch.setattr(calls, "finish", away_at_first)
    monkeypatch.setattr(direct_worker, "FINISH_AGAIN_S", 0.01)
    worker = Worker()
    await worker.step()
    assert (await ended(call_id)).state == State.SUCCEEDED
    await worker.close(5)
