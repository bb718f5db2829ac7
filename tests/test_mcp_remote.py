"""The gateway as a client of MCP servers over HTTP, in both eras."""

import asyncio
import json

import pytest

from mcp.exchange import AnsweredError, RemoteError
from mcp.remote import Remote
from tests import mcp_clients
from tests import mcp_http as scripted
from tests.mcp_clients import WITHIN_S, aimed, called
from tests.mcp_http import LEGACY, Json, McpHttp, Talk, said, tool

mcp_http, remote, era = scripted.mcp_http, mcp_clients.remote, mcp_clients.era


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
