"""The whole message that a stream tells of."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tests.test_stream import decoded, emitter
from proxy.wire.message import BrokenStreamError, FailedStreamError, assemble
from proxy.wire.stream import STREAMED, Emitter

Block = dict[str, Any]

BLOCKS: list[Block] = [
    {"type": "text", "text": "Hello, wörld\n"},
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "thinking", "thinking": "", "signature": "kept back"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
    {"type": "tool_use", "id": "toolu_2", "name": "Now", "input": {}},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {
        "type": "mcp_tool_use",
        "id": "mcptoolu_1",
        "name": "x",
        "server_name": "y",
        "input": {"a": 1},
    },
    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "is_error": False, "content": "ok"},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "of_tomorrow", "anything": [None, {"a": 1.5}]},
]


def told(it: Emitter, block: Block) -> bytes:
    """The block through the emitter."""
    match block["type"]:
        case "text":
            return it.text(block["text"])
        case "thinking":
            thought = it.thinking(block["thinking"]) if block["thinking"] else b""
            return thought + it.signature(block["signature"])
        case "tool_use" | "server_tool_use" as kind:
            begun = it.tool_use(block["id"], block["name"], kind=kind)
            text = json.dumps(block["input"]) if block["input"] else ""
            return begun + b"".join(it.tool_input(char) for char in text)
        case _:
            return it.whole_block(block)


def message_of(blocks: list[Block], reason: str = "end_turn") -> dict[str, Any]:
    it = emitter()
    stream = it.start() + b"".join(told(it, block) for block in blocks)
    return assemble(decoded(stream + it.finish(reason, {"output_tokens": 5})))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["type"])
def test_it_gives_back_each_kind_of_block(block: Block) -> None:
    assert message_of([block])["content"] == [block]


def test_it_makes_a_complete_message() -> None:
    assert message_of(BLOCKS[:1]) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-demo",
        "content": BLOCKS[:1],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "output_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
blocks_of_any_kind = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, st.text(min_size=1)),
    st.builds(
        lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, st.text(), st.text()
    ),
    st.builds(
        lambda kind, name, value: {"type": kind, "id": "toolu_1", "name": name, "input": value},
        st.sampled_from(["tool_use", "server_tool_use"]),
        st.text(),
        st.dictionaries(st.text(), values),
    ),
    st.builds(
        lambda kind, value: {"type": kind, "content": value},
        st.text().filter(lambda kind: kind not in STREAMED),
        values,
    ),
)


@given(st.lists(blocks_of_any_kind, max_size=6), st.sampled_from(["end_turn", "max_tokens"]))
def test_it_gives_back_what_the_emitter_was_told(blocks: list[Block], reason: str) -> None:
    message = message_of(blocks, reason)
    assert _merged(message["content"]) == _merged(blocks)
    assert message["stop_reason"] == reason


def _merged(blocks: list[Block]) -> list[Block]:
    """Neighbouring texts are one block: nothing in a stream divides them."""
    merged: list[Block] = []
    for block in blocks:
        if merged and block["type"] == merged[-1]["type"] == "text":
            merged[-1] = {"type": "text", "text": merged[-1]["text"] + block["text"]}
        else:
            merged.append(block)
    return merged


START = {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
TOOL = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "tool_use", "id": "toolu_1", "name": "x", "input": {}},
}


def grown(**delta: object) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def ended(reason: str | None = "end_turn", **beside: object) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **beside}


def test_it_collects_citations() -> None:
    cited = [grown(type="citations_delta", citation={"n": n}) for n in (1, 2)]
    message = assemble([START, TEXT, *cited, ended()])
    assert message["content"][0]["citations"] == [{"n": 1}, {"n": 2}]


def test_it_keeps_what_stands_beside_the_last_delta() -> None:
    message = assemble([START, ended(context_management={"applied_edits": []})])
    assert message["context_management"] == {"applied_edits": []}


def test_it_keeps_verdicts_where_a_client_looks_for_them() -> None:
    it = emitter()
    stream = it.finish("end_turn", {}, extra_delta={"safeguard_results": [{"type": "x"}]})
    assert assemble(decoded(stream))["safeguard_results"] == [{"type": "x"}]


def test_it_counts_cumulatively_and_takes_null_as_no_news() -> None:
    first = ended(None, usage={"output_tokens": 3, "input_tokens": None})
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 9}}}
    message = assemble([start, first, ended(usage={"output_tokens": 8})])
    assert message["usage"] == {"input_tokens": 9, "output_tokens": 8}


def test_it_survives_events_and_deltas_of_tomorrow() -> None:
    new = grown(type="colour_delta", colour="blue")
    message = assemble([{"type": "ping"}, START, TEXT, {"type": "weather"}, new, ended()])
    assert message["content"] == [{"type": "text", "text": "", "colour": "blue"}]


def test_it_passes_an_error_event_on() -> None:
    it = emitter()
    with pytest.raises(FailedStreamError) as failed:
        assemble(decoded(it.text("so far") + it.error("overloaded_error", "later")))
    assert (failed.value.kind, failed.value.message) == ("overloaded_error", "later")


def test_it_takes_a_tool_call_that_the_token_limit_cut_as_empty() -> None:
    cut = grown(type="input_json_delta", partial_json='{"a":')
    assert assemble([START, TOOL, cut, ended("max_tokens")])["content"][0]["input"] == {}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [START],
        [START, TEXT, grown(type="text_delta", text="x")],
        [START, ended(None)],
        [TEXT],
        [START, TEXT, TEXT, ended()],
        [START, grown(type="text_delta", text="x"), ended()],
        [START, TEXT, grown(type="text_delta", text=None), ended()],
        [START, TEXT, grown(type="text_delta"), ended()],
        [START, TEXT, {"type": "content_block_delta", "index": 0}, ended()],
        [START, TOOL, grown(type="input_json_delta", partial_json="[1]"), ended()],
        [START, TOOL, grown(type="input_json_delta", partial_json='{"a":'), ended()],
        [START, TOOL, grown(type="input_json_delta", partial_json="[" * 100_000), ended()],
        [{"type": "message_start", "message": None}],
        [{"type": "error", "error": None}],
    ],
    ids=range(15),
)
def test_it_makes_no_message_of_a_broken_stream(events: list[dict[str, Any]]) -> None:
    with pytest.raises(BrokenStreamError):
        assemble(events)
