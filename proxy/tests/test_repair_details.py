"""The repairing filter, event by event: what stands beside the blocks, and when each goes out."""

import json
from typing import Any

import pytest

from proxy.tests.test_repair import DONE, START, TOOL, begun, raw, read, repair
from proxy.wire import sse
from proxy.wire.repair import Repair

TEXT = {"type": "text", "text": ""}
STOP = raw({"type": "message_stop"})


def delta(index: int, kind: str, **fields: str) -> bytes:
    said = {"type": kind} | fields
    return raw({"type": "content_block_delta", "index": index, "delta": said})


def ended(index: int) -> bytes:
    return raw({"type": "content_block_stop", "index": index})


def message_delta(reason: str | None, **fields: Any) -> bytes:
    said = {"stop_reason": reason, "stop_sequence": None}
    return raw({"type": "message_delta", "delta": said, "usage": {"output_tokens": 5}} | fields)


@pytest.fixture
def it() -> Repair:
    started = repair({"request": {}})
    started.feed(START)
    return started


def test_it_ends_the_message_at_done_and_waits_for_nothing_more(it: Repair) -> None:
    assert it.feed(message_delta("end_turn")) == b""
    assert (
        it.feed(DONE)
        == message_delta("end_turn") + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    assert it.feed(STOP) == it.end() == b""


def test_it_keeps_a_ping_between_two_ends_that_become_one(it: Repair) -> None:
    out = it.feed(message_delta("end_turn") + sse.PING + message_delta(None) + STOP)
    assert [event["type"] for event in read(out)] == ["ping", "message_delta", "message_stop"]


def test_it_sends_a_ping_before_the_text_that_follows_it(it: Repair) -> None:
    it.feed(begun(0, TEXT) + message_delta(None))
    assert it.feed(sse.PING) == b""
    assert it.feed(delta(0, "text_delta", text="a")) == sse.PING + delta(0, "text_delta", text="a")


def test_it_keeps_what_stands_beside_the_delta_of_an_end(it: Repair) -> None:
    edits: dict[str, Any] = {"applied_edits": [{"type": "x"}]}
    out = it.feed(message_delta(None, context_management=edits) + message_delta("stop") + STOP)
    assert read(out)[0]["context_management"] == edits
    assert read(out)[0]["delta"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("ping", [b"event: ping\ndata:\n\n", b"event: ping\ndata: pong\n\n"])
def test_a_ping_that_is_no_json_is_a_ping(it: Repair, ping: bytes) -> None:
    assert it.feed(ping) == sse.PING


@pytest.mark.parametrize("nothing", [b"event: content_block_stop\n\n", b"data:\n\n", b"id: 5\n\n"])
def test_it_drops_an_event_without_data(it: Repair, nothing: bytes) -> None:
    it.feed(begun(0, TEXT))
    assert it.feed(nothing) == b""


def test_it_drops_what_belongs_to_no_message_yet() -> None:
    fresh = repair({"request": {}})
    assert fresh.feed(raw({"type": "progress"})) == b""
    assert fresh.feed(START).startswith(b"event: message_start\n")


def test_halves_of_a_character_pass_as_they_are(it: Repair) -> None:
    halves = [
        delta(0, "text_delta", text="?").replace(b"?", half) for half in (b"\\ud83d", b"\\ude00")
    ]
    stream = begun(0, TEXT) + b"".join(halves) + ended(0)
    assert it.feed(stream) == stream


@pytest.mark.parametrize("call_id", ["", "not an id", "x" * 200])
def test_a_result_follows_its_call_to_a_new_id(it: Repair, call_id: str) -> None:
    call = TOOL | {"type": "server_tool_use", "id": call_id}
    result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": []}
    out = read(it.feed(begun(0, call) + ended(0) + begun(1, result) + ended(1)))
    assert out[0]["content_block"]["id"] == out[2]["content_block"]["tool_use_id"] != call_id


def test_a_call_keeps_its_own_id_after_another_lost_the_same() -> None:
    message = {"content": [TOOL | {"id": ""}, TOOL, TOOL]}
    fresh = repair({"request": {}})
    out = read(fresh.feed(raw({"type": "message_start", "message": message})))
    ids = [event["content_block"]["id"] for event in out if event["type"] == "content_block_start"]
    assert len(set(ids)) == 3 and ids[1] == "toolu_1"


def test_it_gives_a_tool_its_input_at_once_when_the_server_does(it: Repair) -> None:
    it.feed(begun(0, TOOL) + delta(0, "input_json_delta", partial_json='{"a":'))
    piece = delta(0, "input_json_delta", partial_json=json.dumps("b"))
    assert it.feed(piece) == piece
