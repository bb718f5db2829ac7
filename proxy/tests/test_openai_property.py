"""Answers in OpenAI's language: whatever a server sends, the events are legal and none is lost."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.openai.reply import Decoder
from proxy.adapters.openai.translation import Translation
from proxy.answer import UpstreamError
from proxy.tests.test_openai_reply_cases import SIGNER, new_ids
from proxy.tests.test_stream import Event, legal

Delta = dict[str, Any]


def decoder(*stop_sequences: str) -> Decoder:
    translation = Translation(
        body={},
        tool_names={"short": "a_long_name"},
        stop_sequences=stop_sequences,
        safeguards=[],
        input_tokens=1,
    )
    return Decoder(translation, model="claude-test", new_id=new_ids(), signer=SIGNER)


def pieces(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes, cut at these places as far as they have them."""
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[start:end] for start, end in pairwise(places)]


def event(delta: object, **choice: object) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, **choice}]}
    return b"data: %b\n\n" % json.dumps(chunk).encode()


cuts = st.lists(st.integers(0, 10_000), max_size=12)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
words = st.text(max_size=6) | st.sampled_from(
    ["<think>", "</think>", "<th", "ink>", "##", "#", "\ud83d", "\ude00", " ", "\n\n"]
)
fragments = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | junk,
        "id": st.sampled_from(["", "a", "b"]) | junk,
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["", "Bash", "short"]) | junk,
                "arguments": st.sampled_from(['{"a":', "1}", "{}", "null", "", '{"b":"}"}'])
                | words
                | junk,
            },
        )
        | junk,
    },
)
thinking_blocks = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["thinking", "redacted_thinking"])},
        optional={"thinking": words | junk, "signature": words | junk, "data": words | junk},
    ),
    max_size=2,
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": words | junk,
        "reasoning_content": words | junk,
        "reasoning": words,
        "refusal": words | junk,
        "thinking_blocks": thinking_blocks | junk,
        "reasoning_details": thinking_blocks | junk,
        "tool_calls": st.lists(fragments | junk, max_size=3) | junk,
        "function_call": junk,
    },
)
finishes = st.none() | st.sampled_from(["stop", "length", "tool_calls", "content_filter"]) | junk
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": st.integers(-1, 2**70) | junk,
        "completion_tokens": st.integers(-1, 100) | junk,
        "total_tokens": junk,
        "prompt_tokens_details": junk,
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": st.integers(0, 9)}),
    },
)
chunks = st.builds(lambda d, f, s: event(d, finish_reason=f, stop_reason=s), deltas, finishes, junk)
counts = usages.map(lambda u: b"data: %b\n\n" % json.dumps({"choices": [], "usage": u}).encode())
others = st.builds(lambda value: b"data: %b\n\n" % json.dumps({"x": value}).encode(), junk)
noise = st.sampled_from([b": ping\n\n", b"data: [DONE]\n\n", b"event: x\r\n\r\n", b"data: {\n\n"])


def heard(it: Decoder, raw: bytes, cut_at: Sequence[int]) -> tuple[bytes, bool]:
    """What comes out, and whether it came to an end of its own."""
    stream = b""
    try:
        for piece in pieces(raw, cut_at):
            stream += it.feed(piece)
        return stream + it.end(), True
    except UpstreamError:
        return stream, False


@given(st.lists(chunks | chunks | chunks | counts | others | noise, max_size=12), cuts)
def test_it_is_legal_whatever_a_server_sends(sent: list[bytes], cut_at: list[int]) -> None:
    raw = b"".join(sent)
    stream, is_whole = heard(decoder("##"), raw, cut_at)
    events = legal(stream, whole=is_whole)
    if is_whole and events[-2]["delta"]["stop_reason"] == "tool_use":
        assert all(isinstance(json.loads(given), dict) for _, given in calls_in(events))
    assert (stream, is_whole) == heard(decoder("##"), raw, [])


def calls_in(events: list[Event]) -> list[tuple[str, str]]:
    """The name of each call, and its arguments as the text that the client gets."""
    told: dict[int, tuple[str, str]] = {}
    for one in events:
        if one.get("content_block", {}).get("type") == "tool_use":
            told[one["index"]] = one["content_block"]["name"], ""
        if one.get("delta", {}).get("type") == "input_json_delta":
            name, so_far = told[one["index"]]
            told[one["index"]] = name, so_far + one["delta"]["partial_json"]
    return list(told.values())


values = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(['"}', "\\", "{[", "é"])
arguments = st.dictionaries(st.text(max_size=3), values | st.lists(values, max_size=2), max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[str], str, list[Delta]]:
    """The arguments of some calls, some text, and both as deltas in any order that servers use."""
    texts = [json.dumps(value, ensure_ascii=draw(st.booleans())) for value in draw(calls)]
    queues: list[list[Delta]] = []
    for index, text in enumerate(texts):
        parts = [text[a:b] for a, b in borders(len(text), draw(cuts))]
        told = [call_part(index, part, is_first=at == 0) for at, part in enumerate(parts)]
        queues.append([{"tool_calls": [one]} for one in told])
    said = draw(st.lists(st.text("ab<é/", min_size=1, max_size=4), max_size=4))
    queues.append([{"content": text} for text in said])
    order: list[Delta] = []
    while queues := [queue for queue in queues if queue]:
        order.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    return texts, "".join(said), order


def call_part(index: int, arguments: str, *, is_first: bool) -> Delta:
    if not is_first:
        return {"index": index, "function": {"arguments": arguments}}
    function = {"name": f"tool_{index}", "arguments": arguments}
    return {"index": index, "id": f"call_{index}", "function": function}


def borders(length: int, cut_at: Sequence[int]) -> list[tuple[int, int]]:
    places = sorted({0, length, *(cut % (length + 1) for cut in cut_at)})
    return list(pairwise(places))


calls = st.lists(arguments, max_size=4)


@given(conversations(), cuts)
def test_it_loses_and_doubles_nothing(
    told: tuple[list[str], str, list[Delta]], cut_at: list[int]
) -> None:
    texts, said, order = told
    raw = b"".join(map(event, order)) + event({}, finish_reason="stop") + b"data: [DONE]\n\n"
    stream, is_whole = heard(decoder(), raw, cut_at)
    assert is_whole
    events = legal(stream)
    got = [one["delta"].get("text", "") for one in events if "delta" in one]
    assert dict(calls_in(events)) == {f"tool_{at}": text for at, text in enumerate(texts)}
    assert "".join(got) == said
    assert events[-2]["delta"]["stop_reason"] == ("tool_use" if texts else "end_turn")
