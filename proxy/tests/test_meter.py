"""What the meter counts of an answer."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing.tokens import MOST, TokenCounts
from proxy.meter import MOST_BYTES, MOST_COUNTS, Meter
from proxy.wire import sse


def event(kind: str, **fields: Any) -> bytes:
    return sse.encode(kind, json.dumps({"type": kind, **fields}).encode())


def test_it_merges_the_usage_of_start_and_end() -> None:
    meter = Meter()
    start = {"input_tokens": 7, "output_tokens": 1, "cache_read_input_tokens": 3}
    meter.see(event("message_start", message={"id": "msg_1", "model": "m", "usage": start}))
    meter.see(
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "message_"})
    )
    assert not meter.has_end
    meter.see(
        event(
            "message_delta",
            delta={"stop_reason": "end_turn"},
            usage={"output_tokens": 20, "input_tokens": None},
        )
        + event("message_stop")
    )
    assert (meter.message_id, meter.model, meter.stop_reason) == ("msg_1", "m", "end_turn")
    assert meter.usage == start | {"output_tokens": 20}
    assert meter.has_end


def test_it_sees_an_error_event() -> None:
    meter = Meter()
    meter.see(event("error", error={"type": "overloaded_error", "message": "busy"}))
    assert meter.error == {"type": "overloaded_error", "message": "busy"}


def test_it_takes_a_text_about_errors_for_a_text() -> None:
    meter = Meter()
    text = 'error "error" message_stop event: error'
    meter.see(event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}))
    assert meter.error is None
    assert not meter.has_end


def test_it_reads_a_whole_message() -> None:
    meter = Meter()
    meter.see_message(
        b'{"id":"msg_2","model":"m","stop_reason":"tool_use","usage":{"output_tokens":5}}'
    )
    assert meter.has_end
    assert meter.usage == {"output_tokens": 5}


@given(st.binary(max_size=80))
def test_it_survives_whatever_an_upstream_sends(junk: bytes) -> None:
    meter = Meter()
    meter.see(b"event: message_start\ndata: " + junk + b"\n\n")
    meter.see_message(junk)
    TokenCounts.of(meter.usage)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "input_tokens",
                "output_tokens",
                "cache_creation",
                "cache_creation_input_tokens",
                "server_tool_use",
            ]
        ),
        json_values
        | st.fixed_dictionaries(
            {"ephemeral_5m_input_tokens": json_values, "ephemeral_1h_input_tokens": json_values}
        ),
    )
)
def test_it_counts_any_usage_within_what_a_column_holds(usage: dict[str, Any]) -> None:
    counts = TokenCounts.of(usage)
    for name in TokenCounts.__slots__:
        assert 0 <= getattr(counts, name) <= MOST


def test_it_splits_cache_writes_by_life_time() -> None:
    split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 90}
    counts = TokenCounts.of({"cache_creation_input_tokens": 100, "cache_creation": split})
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (10, 90)
    counts = TokenCounts.of({"cache_creation_input_tokens": 100})
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (100, 0)


def test_it_keeps_a_bounded_number_of_counts() -> None:
    meter = Meter()
    for number in range(2 * MOST_COUNTS):
        meter.see(
            event("message_delta", delta={}, usage={f"count_{number}": 1, "output_tokens": 7})
        )
    assert len(meter.usage) == MOST_COUNTS
    assert meter.usage["output_tokens"] == 7


def test_it_takes_the_counts_and_leaves_what_is_large() -> None:
    meter = Meter()
    message = {"id": "msg_1", "content": [{}] * MOST_BYTES, "usage": {"input_tokens": 7}}
    meter.see(event("message_start", message=message))
    assert (meter.message_id, meter.usage) == ("msg_1", {"input_tokens": 7})
    meter.see(event("message_delta", delta={}, usage={"output_tokens": 1, "x": "y" * MOST_BYTES}))
    assert meter.usage == {"input_tokens": 7}


def test_it_counts_the_tools_that_an_answer_calls() -> None:
    meter = Meter()
    for kind in ("text", "tool_use", "server_tool_use", "mcp_tool_use", "tool_result"):
        meter.see(event("content_block_start", index=0, content_block={"type": kind}))
    said = {"type": "text_delta", "text": '{"type": "tool_use"}'}
    meter.see(event("content_block_delta", index=0, delta=said))
    assert meter.tool_calls == 3
    whole = Meter()
    blocks = [{"type": "text", "text": '"tool_use"'}, {"type": "tool_use", "input": {}}]
    whole.see_message(json.dumps({"type": "message", "content": blocks}).encode())
    assert whole.tool_calls == 1


@given(st.lists(st.text('abcdefgh \n"', min_size=1, max_size=40), max_size=30))
def test_it_estimates_what_has_passed_by_its_size(texts: list[str]) -> None:
    """Never more than a token for each four bytes of text, and no less than half of that."""
    meter = Meter()
    meter.see(event("message_start", message={"id": "msg_1", "usage": {"output_tokens": 1}}))
    for text in texts:
        delta = {"index": 0, "delta": {"type": "text_delta", "text": text}}
        said = json.dumps({"type": "content_block_delta", **delta}, separators=(",", ":"))
        meter.see(sse.encode("content_block_delta", said.encode()))
    size = sum(len(json.dumps(text)) - 2 for text in texts)
    assert size // 8 - len(texts) <= meter.seen_tokens <= size // 4 + len(texts)


def test_it_estimates_an_answer_that_is_not_streamed_too() -> None:
    meter = Meter()
    blocks = [{"type": "text", "text": "word " * 100}]
    meter.see_message(json.dumps({"type": "message", "content": blocks}).encode())
    assert 120 <= meter.seen_tokens <= 140
    assert not meter.is_whole


def test_it_knows_whether_the_last_count_of_output_has_come() -> None:
    meter = Meter()
    meter.see(event("message_start", message={"usage": {"input_tokens": 3, "output_tokens": 1}}))
    assert not meter.has_final
    meter.see(event("message_delta", delta={"stop_reason": "end_turn"}, usage={"other": 1}))
    assert not meter.has_final
    meter.see(event("message_delta", delta={}, usage={"output_tokens": 9}))
    assert meter.has_final


def test_it_counts_all_of_an_answer_that_it_cannot_read() -> None:
    meter = Meter()
    raw = b'{"type":"message","content":[{"type":"text","text":"ok \\ud83d"}],"usage":{}}'
    meter.see_message(raw * 20)
    assert meter.seen_tokens > 100
    assert not meter.has_end


def test_it_keeps_the_counts_it_knows_however_many_others_there_are() -> None:
    meter = Meter()
    usage = {f"x{n}": n for n in range(MOST_COUNTS * 2)} | {"input_tokens": 7, "output_tokens": 9}
    raw = json.dumps({"type": "message", "content": [], "usage": usage}).encode()
    meter.see_message(raw)
    assert (meter.usage["input_tokens"], meter.usage["output_tokens"]) == (7, 9)
