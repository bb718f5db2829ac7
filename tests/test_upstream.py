"""The scripted upstream is a measuring instrument: what it reports must be true."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.answers import (
    End,
    Endless,
    Gate,
    Pause,
    as_html,
    cut_at,
    error,
    gone,
    lost_after,
    silent,
    sse,
    stream,
)
from tests.catalog import MODEL_IDS
from tests.turns import text_turn, thinking_turn, tool_turn, usage
from tests.upstream import COUNT_TOKENS, MESSAGES, MODELS, WAIT_S, Upstream

VERSION = {"anthropic-version": "2023-06-01"}
MOST_IN_FLIGHT = 32 * 1024 * 1024  # what two sockets on loopback hold between them, and more
ASK = {
    "model": "claude-opus-5-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "hi"}],
}
TURN = tool_turn(("Read", {"path": "ä"}), ("Write", {}), text="Doing it.", cost=usage(cache_read=7))


def ask(upstream: Upstream, *, streaming: bool = False, path: str = MESSAGES) -> httpx.Response:
    return httpx.post(
        upstream.url + path, json=ASK | {"stream": streaming}, headers=VERSION, timeout=WAIT_S
    )


@contextmanager
def connected(upstream: Upstream) -> Iterator[socket.socket]:
    """A bare socket that has asked and reads what comes, byte for byte."""
    address = urlsplit(upstream.url)
    head = f"POST {MESSAGES} HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n"
    head += "anthropic-version: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    place = (address.hostname or "", address.port or 0)
    with socket.create_connection(place, timeout=WAIT_S) as client:
        client.sendall(f"{head}\r\n{{}}".encode())
        yield client


def test_it_answers_a_small_text_turn_when_nothing_is_scripted(upstream: Upstream) -> None:
    answer = ask(upstream)
    assert answer.status_code == 200
    assert answer.json()["content"] == [{"type": "text", "text": "Hello from the upstream."}]
    assert answer.json()["model"] == ASK["model"]
    assert answer.headers["request-id"].startswith("req_")


def test_it_streams_the_same_turn_when_asked(upstream: Upstream) -> None:
    upstream.script(TURN)
    assert ask(upstream, streaming=True).content == b"".join(map(sse, TURN.events()))


def test_it_records_requests_byte_for_byte(upstream: Upstream) -> None:
    body = b'{ "model":"m",  "max_tokens":1,"\\u0065":"\xc3\xa4" }'
    headers = VERSION | {"content-type": "application/json; charset=utf-8", "X-Odd": "1, 2"}
    httpx.post(f"{upstream.url}{MESSAGES}?beta=true&a=%20", content=body, headers=headers)
    [request] = upstream.wait_for(1)
    assert (request.method, request.path, request.query) == ("POST", MESSAGES, "beta=true&a=%20")
    assert request.body == body
    assert request.headers["x-odd"] == "1, 2"
    assert request.finished.wait(WAIT_S)
    assert not request.hung_up.is_set()


@pytest.mark.parametrize(
    ("headers", "body", "fault"),
    [
        ({"content-type": "application/json"}, b"{}", "anthropic-version"),
        (VERSION | {"content-type": "text/plain"}, b"{}", "content-type"),
        (VERSION, b"{}", "content-type"),
        (VERSION | {"content-type": "application/json"}, b"{", "not valid JSON"),
        (VERSION | {"content-type": "application/json"}, b"[]", "not a JSON object"),
    ],
)
def test_it_refuses_and_remembers(headers: dict[str, str], body: bytes, fault: str) -> None:
    with Upstream() as upstream:
        answer = httpx.post(upstream.url + MESSAGES, content=body, headers=headers)
        assert answer.status_code == 400
        assert fault in answer.json()["error"]["message"]
        assert [fault in line for line in upstream.faults] == [True]


def test_it_takes_one_key_only_when_told() -> None:
    with Upstream(key="good") as upstream:
        for headers, status in (
            ({"x-api-key": "good"}, 200),
            ({"authorization": "Bearer good"}, 200),
            ({"authorization": "Bearer bad"}, 401),
            ({}, 401),
        ):
            answer = httpx.post(upstream.url + MESSAGES, json=ASK, headers=VERSION | headers)
            assert answer.status_code == status
        assert upstream.faults == []


def test_it_cuts_chunks_where_it_is_told(upstream: Upstream) -> None:
    pieces = cut_at(TURN.events(), 1, 8, 9, 300)
    assert [len(piece) for piece in pieces[:4]] == [1, 7, 1, 291]
    assert b"".join(pieces) == b"".join(map(sse, TURN.events()))
    upstream.script(stream(pieces))
    with connected(upstream) as client:
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    _, _, body = answer.partition(b"\r\n\r\n")
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    assert body == b"".join(chunks) + b"0\r\n\r\n"


def test_it_dies_before_the_first_byte(upstream: Upstream) -> None:
    upstream.script(gone())
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask(upstream)


@pytest.mark.parametrize("count", [0, 1, 333])
def test_it_dies_after_exactly_so_many_bytes(upstream: Upstream, count: int) -> None:
    upstream.script(stream(lost_after(count, TURN.events())))
    got = b""
    with (
        httpx.stream("POST", upstream.url + MESSAGES, json=ASK, headers=VERSION) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        assert answer.status_code == 200
        for data in answer.iter_raw():
            got += data
    assert got == b"".join(map(sse, TURN.events()))[:count]


def test_it_holds_a_stream_until_the_gate_opens(upstream: Upstream) -> None:
    first, *rest = text_turn().events()
    gate = Gate()
    upstream.script(stream([first, Pause(0.001), gate, *rest]))
    with httpx.stream("POST", upstream.url + MESSAGES, json=ASK, headers=VERSION) as answer:
        lines = answer.iter_raw()
        assert next(lines) == sse(first)
        assert gate.reached.wait(WAIT_S)
        assert upstream.requests[0].bytes_sent == len(sse(first))
        gate.open()
        assert b"".join(lines) == b"".join(map(sse, rest))


async def test_it_notices_a_client_that_leaves_while_it_waits() -> None:
    async with Upstream() as upstream, httpx.AsyncClient() as client:
        upstream.script(stream([text_turn().events()[0], End.HANG]))
        async with client.stream(
            "POST", upstream.url + MESSAGES, json=ASK, headers=VERSION
        ) as answer:
            await anext(answer.aiter_raw())
            assert not upstream.requests[0].hung_up.is_set()
        assert await asyncio.to_thread(upstream.requests[0].left)


def test_it_says_nothing_at_all_when_silent(upstream: Upstream) -> None:
    upstream.script(silent())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(upstream.url + MESSAGES, json=ASK, headers=VERSION, timeout=0.1)
    assert upstream.requests[0].left()


def test_it_counts_what_a_slow_reader_lets_it_produce(upstream: Upstream) -> None:
    chunk = b": " + b"x" * 65533 + b"\n"
    upstream.script(stream([Endless(chunk)]))
    with httpx.stream("POST", upstream.url + MESSAGES, json=ASK, headers=VERSION) as answer:
        read = 0
        for data in answer.iter_raw():
            read += len(data)
            if read > 8 * len(chunk):
                break
        assert read < upstream.requests[0].bytes_sent < read + MOST_IN_FLIGHT
    assert upstream.requests[0].left()
    assert upstream.requests[0].bytes_sent % len(chunk) == 0


def test_it_sends_errors_and_pages_as_scripted(upstream: Upstream) -> None:
    upstream.script(
        error(529, "overloaded_error", "Overloaded", headers={"retry-after": "3"}),
        as_html("<h1>Bad Gateway</h1>"),
    )
    overloaded, page = ask(upstream), ask(upstream)
    assert (overloaded.status_code, overloaded.headers["retry-after"]) == (529, "3")
    assert overloaded.json()["request_id"] == overloaded.headers["request-id"]
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")


def test_it_counts_tokens_and_pages_models(upstream: Upstream) -> None:
    assert ask(upstream, path=COUNT_TOKENS).json()["input_tokens"] > 0
    seen, query = [], ""
    for _ in range(3):
        page = httpx.get(f"{upstream.url}{MODELS}?limit=2{query}", headers=VERSION).json()
        seen += [model["id"] for model in page["data"]]
        query = f"&after_id={page['last_id']}"
    assert (tuple(seen), page["has_more"]) == (MODEL_IDS, False)
    unknown = httpx.get(f"{upstream.url}{MODELS}/nobody", headers=VERSION)
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")


def test_it_asks_the_responder_when_the_script_is_over(upstream: Upstream) -> None:
    upstream.answer_by(lambda request: thinking_turn("hm", request.json["messages"][0]["content"]))
    assert [block["type"] for block in ask(upstream).json()["content"]] == ["thinking", "text"]


def test_it_blames_a_broken_script() -> None:
    with Upstream() as upstream:
        upstream.answer_by(lambda request: request.json["no such field"])
        assert ask(upstream).status_code == 500
        assert "no such field" in upstream.faults[0]


def test_it_stops_with_answers_under_way() -> None:
    with Upstream() as upstream:
        upstream.script(silent())
        with connected(upstream):
            upstream.wait_for(1)
            upstream.stop()
            assert not upstream.requests[0].hung_up.is_set()
