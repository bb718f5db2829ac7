"""The emitter of events, held against an independent reader of Anthropic's streaming grammar."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.wire.signature import Signer
from proxy.wire.stream import Emitter, MisuseError, OutOfTurnError, StreamOverError

Event = dict[str, Any]

SIGNER = Signer.of("test")

_FRAME = re.compile(rb"event: ([a-z_]+)\ndata: ([^\r\n]+)\n\n")
_DELTAS = {
    "text": {"text_delta": "text"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
    "server_tool_use": {"input_json_delta": "partial_json"},
}


def decoded(stream: bytes) -> list[Event]:
    """The events of a stream, read without any code of ours."""
    events, at = [], 0
    while at < len(stream):
        frame = _FRAME.match(stream, at)
        assert frame, f"no event at {stream[at : at + 80]!r}"
        event = json.loads(frame[2].decode("utf-8"))
        assert event["type"] == frame[1].decode()
        events.append(event)
        at = frame.end()
    return events


def legal(stream: bytes, *, whole: bool = True) -> list[Event]:
    """The events of a stream that obeys the grammar; `whole` if it must have come to its end."""
    events = decoded(stream)
    if events:
        check_start(events[0])
    open_kind, blocks, kinds = "", 0, [event["type"] for event in events]
    deltas: list[str] = []
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                assert not open_kind, "one block at a time"
                assert event["index"] == blocks, "indexes are contiguous"
                open_kind, deltas = event["content_block"]["type"], []
                check_opening(event["content_block"])
            case "content_block_delta":
                assert open_kind and event["index"] == blocks
                deltas.append(event["delta"]["type"])
                assert isinstance(event["delta"][_DELTAS[open_kind][deltas[-1]]], str)
            case "content_block_stop":
                assert open_kind and event["index"] == blocks
                check_deltas(open_kind, deltas)
                open_kind, blocks = "", blocks + 1
            case "message_delta":
                assert not open_kind, "the last block is closed before the end"
                assert isinstance(event["delta"]["stop_reason"], str)
                assert isinstance(event["usage"]["output_tokens"], int)
            case kind:
                assert kind in {"ping", "message_stop", "error"}, kind
    check_end(kinds, whole=whole)
    return events


def check_start(event: Event) -> None:
    assert event["type"] == "message_start"
    message = event["message"]
    assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
    assert message["id"] and message["model"] and message["stop_reason"] is None
    assert isinstance(message["usage"]["input_tokens"], int)
    assert isinstance(message["usage"]["output_tokens"], int)


def check_opening(block: Event) -> None:
    if block["type"] in _DELTAS:
        empty = {"text": "", "thinking": "", "signature": "", "input": {}}
        assert all(block[field] == empty[field] for field in block.keys() & empty.keys())


def check_deltas(kind: str, deltas: list[str]) -> None:
    if kind == "text":
        assert deltas, "no empty text block"
    if kind == "thinking":
        assert deltas.count("signature_delta") == 1 and deltas[-1] == "signature_delta"
    if kind not in _DELTAS:
        assert not deltas, "a whole block has no deltas"


def check_end(kinds: list[str], *, whole: bool) -> None:
    assert kinds.count("message_start") <= 1
    for last in {"message_stop", "error"} & set(kinds):
        assert kinds.index(last) == len(kinds) - 1, "nothing follows the end"
    assert kinds.count("message_delta") == kinds.count("message_stop")
    if whole:
        assert kinds[-1:] == ["error"] or kinds[-2:] == ["message_delta", "message_stop"]


def emitter() -> Emitter:
    usage = {"input_tokens": 7}
    return Emitter(message_id="msg_1", model="claude-demo", usage=usage, signer=SIGNER)


words = st.text() | st.sampled_from(
    ["\ud800", "\ude00\ud83d", "a\n\nevent: error\n\ndata: x", "\r"]
)
Move = Callable[[Emitter], bytes]
moves: st.SearchStrategy[Move] = st.one_of(
    st.just(Emitter.start),
    st.just(Emitter.ping),
    words.map(lambda text: lambda e: e.text(text)),
    words.map(lambda text: lambda e: e.thinking(text)),
    words.map(lambda text: lambda e: e.signature(text)),
    words.map(lambda text: lambda e: e.tool_use("toolu_1", text)),
    st.just(lambda e: e.tool_use("srvtoolu_1", "web_search", kind="server_tool_use")),
    words.map(lambda text: lambda e: e.tool_input(text)),
    st.sampled_from(["redacted_thinking", "mcp_tool_use", "text", "tool_use", None]).map(
        lambda kind: lambda e: e.whole_block({"type": kind, "data": "x"})
    ),
    st.sampled_from(["end_turn", ""]).map(
        lambda reason: lambda e: e.finish(reason, {"output_tokens": 3})
    ),
    words.map(lambda text: lambda e: e.error("api_error", text)),
)


@given(st.lists(moves, max_size=30))
def test_it_is_legal_whatever_is_called(called: list[Move]) -> None:
    stream, it, refused_after_end = b"", emitter(), []
    for move in called:
        try:
            stream += move(it)
        except MisuseError as error:
            refused_after_end.append(isinstance(error, StreamOverError))
    events = legal(stream, whole=False)
    over = bool(events) and events[-1]["type"] in {"message_stop", "error"}
    assert over or not any(refused_after_end)
    if not over:
        legal(stream + it.finish("end_turn", {"output_tokens": 1}))


@given(words, words)
@example("\ud83d\ude00", "\ud83d")
def test_it_says_what_it_was_told(thought: str, said: str) -> None:
    it = emitter()
    stream = it.start() + it.thinking(thought) + it.text(said)
    events = legal(stream, whole=False)
    texts = [e["delta"].get("text") for e in events if e["type"] == "content_block_delta"]
    if said:
        assert texts[-1] == said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def test_it_tells_a_whole_turn() -> None:
    it = emitter()
    stream = it.start() + it.ping() + it.thinking("Hm.") + it.text("Now") + it.text(".")
    stream += it.tool_use("toolu_1", "Bash") + it.tool_input('{"command":') + it.tool_input('"ls"}')
    stream += it.tool_use("toolu_2", "Read") + it.finish("tool_use", {"output_tokens": 9})
    events = legal(stream)
    told = [(e["type"], e.get("index"), e.get("delta")) for e in events[2:]]
    bit = "content_block_delta"
    assert told == [
        ("content_block_start", 0, None),
        (bit, 0, {"type": "thinking_delta", "thinking": "Hm."}),
        (bit, 0, {"type": "signature_delta", "signature": SIGNER.sign("Hm.")}),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, None),
        (bit, 1, {"type": "text_delta", "text": "Now"}),
        (bit, 1, {"type": "text_delta", "text": "."}),
        ("content_block_stop", 1, None),
        ("content_block_start", 2, None),
        (bit, 2, {"type": "input_json_delta", "partial_json": ""}),
        (bit, 2, {"type": "input_json_delta", "partial_json": '{"command":'}),
        (bit, 2, {"type": "input_json_delta", "partial_json": '"ls"}'}),
        ("content_block_stop", 2, None),
        ("content_block_start", 3, None),
        (bit, 3, {"type": "input_json_delta", "partial_json": ""}),
        ("content_block_stop", 3, None),
        ("message_delta", None, {"stop_reason": "tool_use", "stop_sequence": None}),
        ("message_stop", None, None),
    ]


def test_it_is_the_same_bytes_as_the_real_wire() -> None:
    it = emitter()
    it.start()
    assert it.text("é\n") == (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"\xc3\xa9\\n"}}\n\n'
    )
    assert it.ping() == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_it_begins_by_itself() -> None:
    first, second = legal(emitter().error("api_error", "no"))
    assert first["type"] == "message_start"
    assert second["error"] == {"type": "api_error", "message": "no"}


def test_it_keeps_the_counts_of_the_start_in_the_last_usage() -> None:
    it = emitter()
    *_, last, _stop = legal(it.start() + it.finish("end_turn", {"output_tokens": 2}))
    assert last["usage"] == {
        "input_tokens": 7,
        "output_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def test_it_lets_no_extra_field_undo_the_stop_reason() -> None:
    it = emitter()
    extra = {"stop_reason": None, "stop_details": {"type": "refusal"}}
    *_, last, _stop = legal(it.finish("stop_sequence", {}, "###", extra))
    assert last["delta"] == {
        "stop_reason": "stop_sequence",
        "stop_sequence": "###",
        "stop_details": {"type": "refusal"},
    }


def test_it_signs_thinking_that_is_kept_back() -> None:
    it = emitter()
    events = legal(it.signature("abc") + it.finish("end_turn", {}))
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    assert deltas == [{"type": "signature_delta", "signature": "abc"}]


@given(st.lists(st.lists(words, min_size=1), min_size=2, max_size=2))
def test_it_signs_what_the_client_reads_of_each_thinking(thoughts: list[list[str]]) -> None:
    it, stream = emitter(), b""
    for pieces in thoughts:
        stream += b"".join(map(it.thinking, pieces)) + it.text("Said.")
    read: dict[int, dict[str, str]] = {}
    for event in legal(stream, whole=False):
        for field in ("thinking", "signature"):
            block = read.setdefault(event.get("index", 0), {"thinking": "", "signature": ""})
            block[field] += event.get("delta", {}).get(field, "")
    signed = [block for block in read.values() if block["signature"]]
    assert len(signed) == 2
    assert all(SIGNER.signed(block["thinking"], block["signature"]) for block in signed)


def test_it_sends_a_result_block_whole() -> None:
    it = emitter()
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    events = legal(it.text("Found:") + it.whole_block(block) + it.finish("end_turn", {}))
    starts = [e for e in events if e["type"] == "content_block_start"]
    assert starts[-1] == {"type": "content_block_start", "index": 1, "content_block": block}


@pytest.mark.parametrize("kind", ["text", "thinking", "tool_use", "server_tool_use", None, 5])
def test_it_does_not_send_whole_what_clients_read_from_deltas(kind: object) -> None:
    with pytest.raises(OutOfTurnError):
        emitter().whole_block({"type": kind})


@pytest.mark.parametrize("end", [lambda e: e.finish("end_turn", {}), lambda e: e.error("x", "y")])
def test_it_says_nothing_after_the_end(end: Move) -> None:
    it = emitter()
    end(it)
    again: list[Move] = [
        Emitter.start,
        Emitter.ping,
        lambda e: e.text("x"),
        lambda e: e.text(""),
        lambda e: e.thinking("x"),
        lambda e: e.signature("x"),
        lambda e: e.tool_use("toolu_1", "x"),
        lambda e: e.tool_input("x"),
        lambda e: e.whole_block({"type": "redacted_thinking", "data": ""}),
        lambda e: e.finish("end_turn", {}),
        lambda e: e.error("x", "y"),
    ]
    for move in again:
        with pytest.raises(StreamOverError):
            move(it)
