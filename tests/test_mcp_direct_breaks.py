"""The same where something is not well: the server, its answer, the database, us."""

import asyncio
import json
import threading
from typing import Any

import pytest

from accounts.reads import DatabaseAwayError
from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, direct, direct_calls, direct_worker
from mcp.direct_worker import Worker
from mcp.models import Connector, McpServer, ToolCall
from mcp.states import State
from mcp.threads import off_loop
from tests import mcp_asking
from tests import mcp_http as scripted
from tests.mcp_asking import WITHIN_S, asked, ended, eventually, principal, text_of
from tests.mcp_http import Json, McpHttp, Talk, said

alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written
mcp_http, era = scripted.mcp_http, mcp_asking.era
allowed, worker = mcp_asking.allowed, mcp_asking.worker

pytestmark = pytest.mark.django_db(transaction=True)


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


async def test_it_ends_what_it_began_when_it_stops(alice: Person, mcp_http: McpHttp) -> None:
    mcp_http.does["slow"] = lambda talk, params: talk.hang()
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    effectful = await asked(server, "slow")
    harmless = await asked(server, "slow", has_effects=False)
    worker = Worker()
    assert await worker.step() == 2
    await eventually(lambda: len([m for m in mcp_http.methods() if m == "tools/call"]) == 2)
    await worker.end(0.1)
    call = await ended(effectful)
    assert (call.state, call.outcome) == (State.FAILED, "interrupted")
    row = await off_loop(ToolCall.objects.get)(id=harmless)
    assert row.state == State.RUNNING  # until its lease is over: then another process runs it


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
    await worker.end(5)


async def test_it_goes_on_when_somebody_is_removed(
    alice: Person,
    bob: Person,
    mcp_http: McpHttp,
    monkeypatch: pytest.MonkeyPatch,
    worker: Worker,
) -> None:
    monkeypatch.setattr(calls, "RENEW_S", 0.05)

    def slow(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(0)
        talk.hang()

    mcp_http.does["slow"] = slow
    alices = await direct.register(principal(alice), "weather", mcp_http.url)
    await asked(alices, "slow")
    await asyncio.to_thread(mcp_http.wait_for, "tools/call")
    await off_loop(Connector.objects.filter(id=alices.connector_id).delete)()
    bobs = await direct.register(principal(bob), "weather", mcp_http.url)
    call_id = await asked(bobs, "slow")
    first = await eventually(
        lambda: ToolCall.objects.filter(id=call_id, progress__isnull=False).first()
    )
    assert first.lease_until is not None
    renewed = ToolCall.objects.filter(id=call_id, lease_until__gt=first.lease_until)
    assert await eventually(renewed.first)
    assert (await ended(await asked(bobs, "echo"))).state == State.SUCCEEDED


async def test_it_takes_no_odd_progress(alice: Person, mcp_http: McpHttp, worker: Worker) -> None:
    def tells(talk: Talk, params: Json) -> None:
        talk.stream()
        odd: list[Any] = [True, "7", None, 10**400, {}]
        for value in odd:
            talk.progress(value)
        talk.progress(1, total=10**400, message="a\0b" * 1000)
        assert seen.wait(WITHIN_S)
        talk.answer_event(said("done"))
        talk.close_connection = True

    seen = threading.Event()
    mcp_http.does["odd"] = tells
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    call_id = await asked(server, "odd")
    call = await eventually(
        lambda: ToolCall.objects.filter(id=call_id, progress__isnull=False).first()
    )
    assert call.progress is not None
    assert (call.progress["progress"], call.progress.keys()) == (1, {"progress", "message"})
    assert "\0" not in call.progress["message"]
    assert len(call.progress["message"]) == 500
    seen.set()
    assert (await ended(call_id)).state == State.SUCCEEDED
