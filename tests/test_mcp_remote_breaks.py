"""The gateway as a client of MCP servers that are not well."""

import asyncio
import json

import pytest

from mcp.exchange import RemoteError, TooLargeError
from mcp.remote import Remote
from tests import mcp_clients
from tests import mcp_http as scripted
from tests.gateway import free_port
from tests.mcp_clients import WITHIN_S, aimed, called
from tests.mcp_http import LEGACY, Json, McpHttp, Talk, said, tool

mcp_http, remote, era = scripted.mcp_http, mcp_clients.remote, mcp_clients.era


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
        talk.id = calls[0].id
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
        "empty": lambda talk, params: talk.json({"jsonrpc": "2.0", "id": talk.id}),
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
        message = {"jsonrpc": "2.0", "id": talk.id, "result": said("x")}
        body = json.dumps(message).encode()
        talk.plain(200, body, "application/json", **{"set-cookie": "a=b; Path=/"})

    mcp_http.does["sets"] = sets
    await called(remote, "sets", {})
    await called(remote, "echo", {})
    assert "cookie" not in mcp_http.last("tools/call").headers
