"""The repairing filter against right streams that were mutilated in every way we can think of."""

import json
import re
from copy import deepcopy
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.answer import UpstreamError
from proxy.wire import sse
from proxy.wire.repair import Repair

Event = dict[str, Any]

_FRAME = re.compile(rb"event: ([a-z_]+)\ndata: ([^\r\n]+)\n\n")
_FIELDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "web_search_tool_result": set(),
}


class Checker:
    """Reads events by the grammar of the API and by nothing of ours."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.open = ""
        self.blocks = 0
        self.tool_ids: list[str] = []
        self.texts: list[str] = []
        self.reason: str | None = None

    def read(self, stream: bytes) -> None:
        at = 0
        while at < len(stream):
            frame = _FRAME.match(stream, at)
            assert frame, f"no event at {stream[at : at + 80]!r}"
            event = json.loads(frame[2])
            assert event["type"] == frame[1].decode()
            assert not {"message_stop", "error"} & set(self.kinds), "nothing follows the end"
            getattr(self, event["type"])(event)
            self.kinds.append(event["type"])
            at = frame.end()

    def ping(self, event: Event) -> None:
        """It may stand anywhere."""

    def error(self, event: Event) -> None:
        assert isinstance(event["error"]["message"], str)
        assert event["error"]["type"].endswith("_error")

    def message_start(self, event: Event) -> None:
        assert set(self.kinds) <= {"ping"}, "one start, before all else"
        message = event["message"]
        assert message["content"] == [] and message["stop_reason"] is None
        assert (message["type"], message["role"]) == ("message", "assistant")
        assert message["id"] and message["model"]
        assert type(message["usage"]["input_tokens"]) is int
        assert type(message["usage"]["output_tokens"]) is int

    def content_block_start(self, event: Event) -> None:
        assert "message_start" in self.kinds and "message_delta" not in self.kinds
        assert not self.open, "one block at a time"
        assert event["index"] == self.blocks, "indexes are contiguous"
        block = event["content_block"]
        self.open = block["type"]
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
        assert block | empty.get(self.open, {}) == block
        if self.open == "tool_use":
            assert block["input"] == {} and isinstance(block["name"], str)
            assert block["id"] and block["id"] not in self.tool_ids
            self.tool_ids.append(block["id"])

    def content_block_delta(self, event: Event) -> None:
        assert self.open and event["index"] == self.blocks
        delta = event["delta"]
        assert delta["type"] in _DELTAS[self.open]
        value = delta[_FIELDS[delta["type"]]]
        assert isinstance(value, str)
        if delta["type"] in {"text_delta", "thinking_delta"} and value:
            self.texts.append(value)

    def content_block_stop(self, event: Event) -> None:
        assert self.open and event["index"] == self.blocks
        self.open, self.blocks = "", self.blocks + 1

    def message_delta(self, event: Event) -> None:
        assert not self.open, "the last block is closed before the end"
        assert "message_start" in self.kinds and self.reason is None
        assert type(event["usage"]["output_tokens"]) is int
        self.reason = event["delta"]["stop_reason"]

    def message_stop(self, event: Event) -> None:
        assert self.reason == ("tool_use" if self.tool_ids else "end_turn")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
BLOCKS: dict[str, Event] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"name": "Bash", "input": {}},
    "web_search_tool_result": {"tool_use_id": "srvtoolu_1", "content": []},
}
PING: Event = {"type": "ping"}


@st.composite
def right_streams(draw: st.DrawFn) -> list[Event]:
    message: Event = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
    }
    message |= {"stop_reason": None, "stop_sequence": None}
    message["usage"] = {"input_tokens": 3, "output_tokens": 1}
    events: list[Event] = [{"type": "message_start", "message": message}]
    kinds = draw(st.lists(st.sampled_from(sorted(BLOCKS)), max_size=4))
    for index, kind in enumerate(kinds):
        block = {"type": kind} | BLOCKS[kind]
        if kind == "tool_use":
            block["id"] = f"toolu_{index}"
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for delta in draw(st.sampled_from([*deltas(kind, draw(texts)), []])):
            if draw(st.booleans()):
                events.append(PING)
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if "tool_use" in kinds else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}})
    return [*events, {"type": "message_stop"}]


def deltas(kind: str, text: str) -> list[list[Event]]:
    """What may stand in a block of this kind, in several ways."""
    match kind:
        case "text":
            return [[{"type": "text_delta", "text": piece} for piece in (text, "b", "")]]
        case "thinking":
            thought = [{"type": "thinking_delta", "thinking": piece} for piece in ("a", text)]
            return [[*thought, {"type": "signature_delta", "signature": "c2ln"}]]
        case "tool_use":
            inputs = (("", "{}"), ("", '{"a":', json.dumps(text), "}"))
            return [
                [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
                for pieces in inputs
            ]
        case _:
            return []


def places(value: Any) -> list[tuple[Event, str]]:
    """Every object in a value with every name of a member, but for types: they are the grammar."""
    if not isinstance(value, dict):
        return []
    here = [(value, name) for name in value if name != "type"]
    return here + [place for inner in value.values() for place in places(inner)]


def drop(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    del events[at : to + 1]


def repeat(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    events.insert(to, deepcopy(events[at]))


def move(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    events.insert(to, events.pop(at))


def renumber(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    events[at]["index"] = to


def blank(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    if found := places(events[at]):
        holder, name = draw(st.sampled_from(found))
        holder[name] = None


def cut(draw: st.DrawFn, events: list[Event], at: int, to: int) -> None:
    if found := places(events[at]):
        holder, name = draw(st.sampled_from(found))
        del holder[name]


@st.composite
def mutilated(draw: st.DrawFn) -> list[Event]:
    events = deepcopy(draw(right_streams()))
    for _ in range(draw(st.integers(1, 6))):
        if events:
            places_in_it = st.integers(0, len(events) - 1)
            how = draw(st.sampled_from([drop, repeat, move, renumber, blank, cut]))
            how(draw, events, draw(places_in_it), draw(places_in_it))
    return events


def encoded(events: list[Event]) -> bytes:
    return b"".join(
        sse.encode(event["type"], json.dumps(event, ensure_ascii=False).encode())
        for event in events
    )


def repair() -> Repair:
    numbers = count()
    return Repair(
        safeguards=[], model="m", input_tokens=9, new_id=lambda prefix: f"{prefix}{next(numbers)}n"
    )


@given(right_streams(), st.integers(1, 200))
def test_it_leaves_a_right_stream_alone(events: list[Event], size: int) -> None:
    stream, it, out = encoded(events), repair(), b""
    for at in range(0, len(stream), size):
        out += it.feed(stream[at : at + size])
    assert out + it.end() == stream
    Checker().read(stream)


@settings(max_examples=500)
@given(mutilated(), st.integers(1, 200))
def test_whatever_comes_in_what_goes_out_obeys_the_grammar(events: list[Event], size: int) -> None:
    stream, it, checker, ended = encoded(events), repair(), Checker(), True
    try:
        for at in range(0, len(stream), size):
            checker.read(it.feed(stream[at : at + size]))
        checker.read(it.end())
    except UpstreamError:
        ended = False
    assert ended == (checker.kinds[-1:] == ["message_stop"])
    if ended:
        assert sorted(checker.texts) == sorted(said_before_the_end(events))


def said_before_the_end(events: list[Event]) -> list[str]:
    """Text and thinking of a stream, wherever in it they stand: none of them may get lost."""
    kinds = [event["type"] for event in events]
    end = kinds.index("message_stop") if "message_stop" in kinds else len(kinds)
    found = []
    for event in events[:end]:
        delta = event.get("delta") or {}
        if delta.get("type") in {"text_delta", "thinking_delta"}:
            found.append(delta.get(_FIELDS[delta["type"]]))
    return [text for text in found if text]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: {}\n\n", b"\r", b"\n\n"])))
def test_no_bytes_at_all_make_it_fail_in_another_way(chunks: list[bytes]) -> None:
    it = repair()
    try:
        for chunk in chunks:
            it.feed(chunk)
        it.end()
    except UpstreamError:
        pass
