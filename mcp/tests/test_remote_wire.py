"""MCP's messages, headers and events, however they are cut and whatever they hold."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp import remote_wire as wire
from mcp.remote_wire import Event, Events, NotMcpError


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_it_says_everything_twice_in_the_modern_era() -> None:
    params = {"name": "lookup", "arguments": {"region": "eu", "deep": {"on": True}, "n": 7}}
    asked = schema(
        region={"type": "string", "x-mcp-header": "Region"},
        deep=schema(on={"type": "boolean", "x-mcp-header": "On"}),
        n={"type": "integer", "x-mcp-header": "N"},
        absent={"type": "string", "x-mcp-header": "Absent"},
    )
    assert wire.modern_headers("tools/call", params, asked) == {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "lookup",
        "mcp-param-Region": "eu",
        "mcp-param-On": "true",
        "mcp-param-N": "7",
    }
    sent = json.loads(
        wire.request(3, "tools/call", wire.with_meta(params, modern=True, progress_token=3))
    )
    assert (sent["jsonrpc"], sent["id"], sent["method"]) == ("2.0", 3, "tools/call")
    assert sent["params"]["_meta"] == {
        "progressToken": 3,
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": wire.CLIENT,
    }


def test_it_names_a_resource_by_its_uri() -> None:
    headers = wire.modern_headers("resources/read", {"uri": "file:///a"}, None)
    assert headers["mcp-name"] == "file:///a"
    assert "mcp-name" not in wire.modern_headers("tools/list", {"name": "x"}, None)


def test_it_keeps_the_callers_meta_but_not_their_claims() -> None:
    given_meta = {
        "traceparent": "00-1",
        "progressToken": "theirs",
        "io.modelcontextprotocol/protocolVersion": "1999-01-01",
    }
    meta = wire.with_meta({"_meta": given_meta}, modern=True, progress_token=None)["_meta"]
    assert meta["traceparent"] == "00-1"
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert "progressToken" not in meta
    assert wire.with_meta({"a": 1}, modern=False, progress_token=None) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("Grüße", "=?base64?R3LDvMOfZQ==?="),
        (" edge", "=?base64?IGVkZ2U=?="),
        ("line\nbreak", "=?base64?bGluZQpicmVhaw==?="),
        ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
    ],
)
def test_it_encodes_what_no_header_may_hold(text: str, sent: str) -> None:
    assert wire.header_value(text) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "object", "x-mcp-header": "Root"},
        schema(a={"type": "string", "x-mcp-header": "two words"}),
        schema(a={"type": "string", "x-mcp-header": "a:\r\nevil"}),
        schema(a={"type": "string", "x-mcp-header": ""}),
        schema(a={"type": "string", "x-mcp-header": 7}),
        schema(a={"type": "number", "x-mcp-header": "A"}),
        schema(a={"type": ["string", "null"], "x-mcp-header": "A"}),
        schema(a={"x-mcp-header": "A"}),
        schema(a={"type": "object", "x-mcp-header": "A"}),
        schema(
            a={"type": "string", "x-mcp-header": "Same"},
            b={"type": "string", "x-mcp-header": "same"},
        ),
        schema(a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
        {"type": "object", "allOf": [schema(a={"type": "string", "x-mcp-header": "A"})]},
        {"type": "object", "$defs": {"d": {"type": "string", "x-mcp-header": "A"}}},
    ],
)
def test_it_knows_a_wrong_annotation(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotMcpError):
        wire.mirrored(wrong)


def test_it_takes_no_data_for_an_annotation() -> None:
    assert wire.mirrored(schema(a={"type": "object", "default": {"x-mcp-header": "A"}})) == {}
    assert wire.mirrored({"type": "object"}) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"7",
        b"{",
        b"\xff",
        b'{"id": {}}',
        b'{"error": 7}',
        b"[" * 100_000,
        b'{"id": 1.5}',
        b'{"id": 1, "error": {"code": 9223372036854775808}}',
        b'{"id": 1, "error": {"code": -9223372036854775809}}',
        b'{"id": 1, "error": {"code": ' + b"9" * 400 + b"}}",
    ],
)
def test_it_names_what_is_no_message(text: bytes) -> None:
    with pytest.raises(NotMcpError) as caught:
        wire.message(text)
    assert str(caught.value) == "Its answer is no JSON-RPC message."


def test_it_tells_answers_from_requests() -> None:
    assert wire.message(b'{"id": 1, "result": {}}').is_answer
    assert wire.message(b'{"id": 1, "error": {"code": -1}}').is_answer
    assert wire.message(b'{"id": 1, "error": {"code": -9223372036854775808}}').is_answer
    assert not wire.message(b'{"id": 1, "method": "ping"}').is_answer
    assert not wire.message(b'{"method": "notifications/progress"}').is_answer


STREAM = (
    b": keep-alive\r\n\r\nid: 7\r\ndata:\r\n\r\nretry: 100\r\n\r\n"
    b'event: message\r\nid: 8\r\ndata: {"a":\r\ndata: \xe2\x80\xa8 1}\r\n\r\n'
    b"data: left over"
)
EVENTS = [
    Event(b"", "7", None),
    Event(b"", None, 100),
    Event('{"a":\n\u2028 1}'.encode(), "8", None),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_it_reads_events_however_they_are_cut(cuts: list[int], ends: bytes) -> None:
    stream = STREAM.replace(b"\r\n", ends)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = Events()
    found = [event for start, end in pairwise(places) for event in reader.feed(stream[start:end])]
    assert found == EVENTS


def test_it_bounds_an_event() -> None:
    for chunk in (b"data: " + b"x" * 70_000, b"data: x\n" * 10_000):
        reader = Events()
        fed = 0
        while not reader.is_full and fed < 5 * wire.MAX_MESSAGE_BYTES:
            reader.feed(chunk)
            fed += len(chunk)
        assert wire.MAX_MESSAGE_BYTES < fed < 5 * wire.MAX_MESSAGE_BYTES


def test_it_reads_single_bytes_without_copying_what_came_before() -> None:
    reader = Events()
    for _ in range(500_000):  # copying would take minutes
        reader.feed(b"x")
    assert reader.feed(b"\n\n") == []
