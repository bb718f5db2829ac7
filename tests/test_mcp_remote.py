"""The gateway as a client of MCP servers over HTTP: both eras, and servers that are not well."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp import dialing, targets
from mcp.exchange import AnsweredError, Exchange, RemoteError, TooLargeError
from mcp.remote import Remote
from mcp.targets import Allowed
from tests import mcp_http as scripted
from tests.gateway import free_port
from tests.mcp_http import LEGACY, MODERN, Json, McpHttp, Talk, said, tool

mcp_http = scripted.mcp_http

WITHIN_S = 15  # a bound for what takes milliseconds
LOCAL = targets.allowed(["127.0.0.1", "localhost"])
assert isinstance(LOCAL, Allowed)


def aimed(url: str, credential: str = "") -> Remote:
    assert isinstance(LOCAL, Allowed)
    target = targets.checked(url, LOCAL)
    return Remote(Exchange(dialing.client(target, LOCAL, silent_s=10), target.url, credential))


@pytest.fixture
async def remote(mcp_http: McpHttp) -> AsyncIterator[Remote]:
    remote = aimed(mcp_http.url)
    async with asyncio.timeout(60):
        yield remote
        await remote.close()


@pytest.fixture(params=[MODERN, LEGACY])
def era(request: pytest.FixtureRequest, mcp_http: McpHttp) -> str:
    mcp_http.era = request.param
    return mcp_http.era


async def called(remote: Remote, name: str, arguments: Json | None = None, **more: Any) -> Json:
    params = {"name": name} if arguments is None else {"name": name, "arguments": arguments}
    found: Json = json.loads(bytes(await remote.ask("tools/call", params, **more)))
    return found


async def test_it_lists_and_calls(remote: Remote, mcp_http: McpHttp, era: str) -> None:
    assert [each["name"] for each in await remote.tools()] == ["echo", "other"]
    result = await called(remote, "echo", {"text": "Grüße", "long": 2**80})
    assert json.loads(result["content"][0]["text"]) == {"text": "Grüße", "long": 2**80}
    peer = await remote.peer()
    assert (peer.version, peer.release) == (era, "1.2")
    greeting = ["server/discover"]
    if era == LEGACY:
        greeting += ["initialize", "notifications/initialized"]
    assert mcp_http.methods() == [*greeting, "tools/list", "tools/call"]


async def test_it_takes_lists_as_events(remote: Remote, mcp_http: McpHttp, era: str) -> None:
    mcp_http.streams = True
    mcp_http.page = 1
    assert [each["name"] for each in await remote.tools()] == ["echo", "other"]


async def test_it_calls_without_arguments(remote: Remote, era: str) -> None:
    assert (await called(remote, "echo"))["content"][0]["text"] == "{}"


async def test_it_shows_the_credential(mcp_http: McpHttp, era: str) -> None:
    mcp_http.credential = "hunter2"
    remote = aimed(mcp_http.url, "hunter2")
    assert await called(remote, "echo")
    await remote.close()
    stranger = aimed(mcp_http.url)
    with pytest.raises(RemoteError, match="credential") as caught:
        await stranger.tools()
    assert not caught.value.may_have_run
    assert mcp_http.methods()[-1] == "server/discover"  # a refusal says nothing about the era
    await stranger.close()


@pytest.mark.parametrize("refuses", [200, 400, 404, 405, 406, 500])
async def test_it_finds_a_legacy_server(remote: Remote, mcp_http: McpHttp, refuses: int) -> None:
    mcp_http.era, mcp_http.refuses_discover = LEGACY, refuses
    assert await called(remote, "echo")


async def test_it_does_without_a_session(remote: Remote, mcp_http: McpHttp) -> None:
    mcp_http.era, mcp_http.session = LEGACY, ""
    assert await called(remote, "echo")
    assert "mcp-session-id" not in mcp_http.last("tools/call").headers


async def test_it_begins_anew_where_the_session_is_forgotten(
    remote: Remote, mcp_http: McpHttp
) -> None:
    mcp_http.era = LEGACY
    await called(remote, "echo")
    mcp_http.forget_session()
    answers = await asyncio.gather(*(called(remote, "echo") for _ in range(5)))
    assert len(answers) == 5
    assert mcp_http.methods().count("initialize") == 2
    await remote.close()
    assert mcp_http.methods()[-1] == "DELETE"


async def test_it_passes_progress_on(remote: Remote, mcp_http: McpHttp, era: str) -> None:
    def works(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(1, total=2, message="half")
        talk.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        foreign = {"progressToken": "another's", "progress": 9}
        talk.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": foreign})
        talk.progress(2)
        talk.answer_event(said("done"))
        talk.close_connection = True

    mcp_http.does["works"] = works
    told: list[Json] = []
    result = await called(remote, "works", {}, told=told.append)
    assert result["content"][0]["text"] == "done"
    assert [each["progress"] for each in told] == [1, 2]
    assert told[0]["message"] == "half"


async def test_it_tells_an_error_from_a_failed_tool(
    remote: Remote, mcp_http: McpHttp, era: str
) -> None:
    mcp_http.does["fails"] = lambda talk, params: talk.answer(said("no such city", isError=True))
    assert (await called(remote, "fails", {}))["isError"] is True
    with pytest.raises(AnsweredError) as caught:
        await called(remote, "absent", {})
    assert caught.value.failure.code == -32601
    mcp_http.does["invalid"] = lambda talk, params: talk.fail(-32602, 400, data={"why": "so"})
    with pytest.raises(AnsweredError) as caught:
        await called(remote, "invalid", {})
    assert caught.value.failure.data == {"why": "so"}


async def test_it_repeats_arguments_in_headers(remote: Remote, mcp_http: McpHttp) -> None:
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        },
    }
    wrong = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    mcp_http.tools = [tool("echo", inputSchema=schema), tool("wrong", inputSchema=wrong)]
    assert [each["name"] for each in await remote.tools()] == ["echo"]
    await called(remote, "echo", {"region": "Köln", "dry": False}, schema=schema)
    headers = mcp_http.last("tools/call").headers
    assert headers["mcp-param-region"] == "=?base64?S8O2bG4=?="
    assert headers["mcp-param-dry-run"] == "false"


async def test_it_answers_a_legacy_server_that_asks(remote: Remote, mcp_http: McpHttp) -> None:
    mcp_http.era = LEGACY

    def asks(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        talk.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})
        talk.answer_event(said("done"))
        talk.close_connection = True

    mcp_http.does["asks"] = asks
    assert (await called(remote, "asks", {}))["content"][0]["text"] == "done"
    replies = [each.body for each in mcp_http.heard if each.method == "POST"]
    assert replies[0] == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert replies[1] is not None
    assert (replies[1]["id"], replies[1]["error"]["code"]) == (1, -32601)


async def test_it_says_that_nobody_can_be_asked(remote: Remote, mcp_http: McpHttp) -> None:
    wants = {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}
    mcp_http.does["wants"] = lambda talk, params: talk.answer(wants)
    result = await called(remote, "wants", {})
    assert result["isError"] is True
    assert "nobody can be asked" in result["content"][0]["text"]
    mcp_http.does["tasks"] = lambda talk, params: talk.answer({"resultType": "task"})
    with pytest.raises(RemoteError) as caught:
        await called(remote, "tasks", {})
    assert caught.value.may_have_run


async def test_it_cancels_in_the_way_of_the_era(
    remote: Remote, mcp_http: McpHttp, era: str
) -> None:
    def slow(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(0)
        talk.hang()

    mcp_http.does["slow"] = slow
    begun = asyncio.Event()
    calling = asyncio.create_task(called(remote, "slow", {}, told=lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), WITHIN_S)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert await asyncio.to_thread(mcp_http.left.wait, WITHIN_S)
    if era == LEGACY:
        body = mcp_http.last("notifications/cancelled").body
        call = mcp_http.last("tools/call").body
        assert body is not None and call is not None
        assert body["params"]["requestId"] == call["id"]
    else:
        assert mcp_http.methods()[-1] == "tools/call"
    assert await called(remote, "echo", {})  # the others go on


async def test_it_takes_up_a_legacy_stream_that_ended_early(
    remote: Remote, mcp_http: McpHttp
) -> None:
    mcp_http.era = LEGACY
    calls: list[Talk] = []

    def pauses(talk: Talk, params: Json) -> None:
        calls.append(talk)
        talk.stream()
        talk.event(None, id="place-1", retry=1)
        talk.cut()

    def resume(talk: Talk, params: Json) -> None:
        talk.call = calls[0].call
        talk.stream()
        if params["after"] == "place-1":
            talk.event(None, id="place-2")
        else:
            talk.answer_event(said(params["after"]))
        talk.cut()

    mcp_http.does |= {"pauses": pauses, "resume": resume}
    assert (await called(remote, "pauses", {}))["content"][0]["text"] == "place-2"
    assert len(calls) == 1


async def test_it_knows_what_may_have_run(remote: Remote, mcp_http: McpHttp, era: str) -> None:
    def dies(talk: Talk, params: Json) -> None:
        talk.stream()
        talk.progress(1)
        talk.cut()

    mcp_http.does |= {
        "dies": dies,
        "silent": lambda talk, params: talk.cut(),
        "broken": lambda talk, params: talk.plain(500, b"<html>secret</html>", "text/html"),
        "proxy": lambda talk, params: talk.plain(502),
        "busy": lambda talk, params: talk.plain(503),
        "refused": lambda talk, params: talk.plain(400, b"no"),
        "html": lambda talk, params: talk.plain(200, b"<html>secret</html>", "text/html"),
        "nonsense": lambda talk, params: talk.plain(200, b"{", "application/json"),
        "nothing": lambda talk, params: talk.plain(202),
        "empty": lambda talk, params: talk.json({"jsonrpc": "2.0", "id": talk.call.id}),
        "squeezed": lambda talk, params: talk.plain(
            200, b"x", "application/json", **{"content-encoding": "gzip"}
        ),
    }
    ran = dict.fromkeys(mcp_http.does, True) | {"busy": False, "refused": False}
    del ran["echo"]
    for name, may_have_run in ran.items():
        with pytest.raises(RemoteError) as caught:
            await called(remote, name, {})
        assert caught.value.may_have_run is may_have_run, name
        assert "secret" not in str(caught.value)
        assert str(caught.value).endswith(".")


async def test_it_says_so_where_nobody_listens(mcp_http: McpHttp) -> None:
    remote = aimed(f"http://127.0.0.1:{free_port()}/mcp")
    with pytest.raises(RemoteError, match="takes no connection") as caught:
        await remote.tools()
    assert not caught.value.may_have_run
    await remote.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_it_follows_no_redirect(remote: Remote, mcp_http: McpHttp, status: int) -> None:
    where = f"http://localhost:{mcp_http.server_port}/other"
    mcp_http.does["moved"] = lambda talk, params: talk.plain(status, location=where)
    with pytest.raises(RemoteError, match="Redirects are not followed"):
        await called(remote, "moved", {})
    assert mcp_http.methods() == ["server/discover", "tools/call"]


async def test_it_reads_no_more_than_it_may(remote: Remote, mcp_http: McpHttp, era: str) -> None:
    sent = {"body": 0, "event": 0, "events": 0}

    def body(talk: Talk, params: Json) -> None:
        talk.send_response(200)
        talk.send_header("content-type", "application/json")
        talk.send_header("content-length", str(200 * 2**20))
        talk.end_headers()
        pour(talk, "body", b"0" * 65536)

    def event(talk: Talk, params: Json) -> None:
        talk.stream()
        pour(talk, "event", b"data: " + b"0" * 65536)

    def events(talk: Talk, params: Json) -> None:
        talk.stream()
        pour(talk, "events", b": nothing\n\n" * 6000)

    def pour(talk: Talk, name: str, chunk: bytes) -> None:
        try:
            while sent[name] < 200 * 2**20:
                talk.wfile.write(chunk)
                sent[name] += len(chunk)
        except OSError:
            mcp_http.left.set()
        talk.close_connection = True

    mcp_http.does |= {"body": body, "event": event, "events": events}
    for name in sent:
        mcp_http.left.clear()
        with pytest.raises(TooLargeError):
            await called(remote, name, {})
        assert await asyncio.to_thread(mcp_http.left.wait, WITHIN_S)
        assert sent[name] < 40 * 2**20, name


async def test_it_stops_at_a_list_that_never_ends(remote: Remote, mcp_http: McpHttp) -> None:
    mcp_http.tools = [tool(f"t{number}") for number in range(600)]
    mcp_http.page = 50
    assert len(await remote.tools()) == 512
    mcp_http.page = 1
    assert len(await remote.tools()) == 32


async def test_it_keeps_no_cookie(remote: Remote, mcp_http: McpHttp) -> None:
    def sets(talk: Talk, params: Json) -> None:
        message = {"jsonrpc": "2.0", "id": talk.call.id, "result": said("x")}
        body = json.dumps(message).encode()
        talk.plain(200, body, "application/json", **{"set-cookie": "a=b; Path=/"})

    mcp_http.does["sets"] = sets
    await called(remote, "sets", {})
    await called(remote, "echo", {})
    assert "cookie" not in mcp_http.last("tools/call").headers
