"""The repairing filter, held against recorded faults and against right streams."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event

from proxy.adapters.refusals import refusal
from proxy.answer import UpstreamError, UpstreamNonsenseError, UpstreamSaidError
from proxy.tests.case_files import CASES, REQUEST, differences
from proxy.wire import sse
from proxy.wire.blocks import MAX_BLOCKS, MAX_WAITING
from proxy.wire.message import assemble
from proxy.wire.refusal import repaired_error
from proxy.wire.repair import Repair
from proxy.wire.whole import repaired_message

Case = dict[str, Any]
FILES = sorted((CASES / "compatible").glob("*.json"))
ALL = [json.loads(path.read_text()) | {"name": path.stem} for path in FILES]
STREAMS = [case for case in ALL if isinstance(case["answer"], list)]
WHOLE = [case for case in ALL if not isinstance(case["answer"], list) and "message" in case]
ERRORS = [case for case in ALL if "status" in case]


def raw(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode()
    assert isinstance(item, dict)
    return sse.encode(item["type"], json.dumps(item, ensure_ascii=False).encode())


def stream_of(case: Case) -> bytes:
    return b"".join(map(raw, case["answer"]))


def body_of(case: Case) -> bytes:
    answer = case["answer"]
    return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()


def ids() -> Callable[[str], str]:
    numbers = count(1)
    return lambda prefix: f"{prefix}new{next(numbers)}"


def repair(case: Case) -> Repair:
    return Repair(**known(case))


def known(case: Case) -> dict[str, Any]:
    asked = (REQUEST | case["request"]).get("safeguards", [])
    safeguards = [safeguard["type"] for safeguard in asked]
    return {"safeguards": safeguards, "model": "claude-test", "input_tokens": 9, "new_id": ids()}


def repaired(it: Repair, *chunks: bytes) -> bytes:
    """What comes out, with the error event that the relay makes of an UpstreamError."""
    out = b""
    try:
        for chunk in chunks:
            out += it.feed(chunk)
        return out + it.end()
    except UpstreamError as error:
        kind = error.kind if isinstance(error, UpstreamSaidError) else "api_error"
        return out + raw({"type": "error", "error": {"type": kind, "message": str(error)}})


def cut(stream: bytes, *at: int) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *at, len(stream)])]


def read(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(said.data) for said in sse.events(stream)]


def as_the_sdk_reads(stream: bytes) -> dict[str, Any]:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in read(stream):
        if event["type"] != "ping":
            snapshot = accumulate_event(
                event=event,  # type: ignore[arg-type]  # it takes the decoded event as well
                current_snapshot=snapshot,
                json_bufs=buffers,
            )
    return json.loads(snapshot.to_json(warnings=False))  # type: ignore[no-any-return]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@named([case for case in STREAMS if "message" in case])
def test_it_gives_clients_a_stream_that_they_read_as_this_message(case: Case) -> None:
    out = repaired(repair(case), stream_of(case))
    assert list(differences(case["message"], assemble(read(out)))) == []
    # The SDK keeps no field that it does not know of.
    expected = {k: v for k, v in case["message"].items() if k != "safeguard_results"}
    assert list(differences(expected, as_the_sdk_reads(out))) == []


@named([case for case in STREAMS if "broken" in case or "error" in case])
def test_it_ends_in_one_error_that_says_what_was_wrong(case: Case) -> None:
    out = read(repaired(repair(case), stream_of(case)))
    said = case.get("broken") or case["error"]
    assert list(differences({k: said[k] for k in ("type", "message")}, out[-1]["error"])) == []
    assert [event["type"] for event in out].count("error") == 1
    assert ("broken" in case) == (out[0]["type"] == "message_start")


@named([case for case in STREAMS if case.get("unchanged")])
def test_it_leaves_a_right_stream_byte_for_byte(case: Case) -> None:
    assert repaired(repair(case), stream_of(case)) == stream_of(case)


@named(STREAMS)
def test_it_says_the_same_however_the_stream_is_cut(case: Case) -> None:
    stream = stream_of(case)
    whole = repaired(repair(case), stream)
    for at in range(len(stream)):
        assert repaired(repair(case), *cut(stream, at)) == whole
    assert repaired(repair(case), *cut(stream, *range(1, len(stream)))) == whole
    for seed in range(20):
        random_cuts = sorted(random.Random(seed).choices(range(len(stream)), k=9))  # noqa: S311 - no secret
        assert repaired(repair(case), *cut(stream, *random_cuts)) == whole


@named(WHOLE)
def test_it_repairs_a_whole_message(case: Case) -> None:
    out = repaired_message(body_of(case), **known(case))
    assert list(differences(case["message"], json.loads(out))) == []
    assert (out == body_of(case)) == case.get("unchanged", False)
    assert repaired_message(out, **known(case)) == out


@named(ERRORS)
def test_it_puts_an_error_into_the_shape_of_the_api(case: Case) -> None:
    status, out = refusal(case["status"], body_of(case), window=None)
    expected = {k: v for k, v in case["error"].items() if k != "status"}
    assert status == case["error"]["status"]
    assert list(differences({"type": "error", "error": expected}, json.loads(out))) == []
    assert (out == body_of(case)) == case.get("unchanged", False)
    assert refusal(status, out, window=None) == (status, out)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The upstream answered 500 and gave no reason."),
        (b"[]", "[]"),
        (b'{"message": "gone"}', "gone"),
        (b'{"detail": "gone"}', "gone"),
        (b'{"error": {"message": {"a": 1}}}', '{"a":1}'),
        (b'{"error": "Bad Gateway", "message": "gone"}', "gone"),
        (b'{"type": "error", "error": {"type": "api_error"}}', "The upstream gave no reason."),
        (b"\xff" * 9000, "\ufffd" * 4000),
        (b"[" * 200_000, "[" * 4000),
    ],
)
def test_it_finds_a_text_in_any_error(body: bytes, text: str) -> None:
    said = {"type": "error", "error": {"type": "api_error", "message": text}}
    assert json.loads(repaired_error(500, body)) == said


def test_it_tells_an_error_in_a_200_from_a_message() -> None:
    case = next(case for case in ALL if case["name"] == "whole_error_in_200")
    with pytest.raises(UpstreamSaidError, match="Model is loading") as raised:
        repaired_message(body_of(case), **known(case))
    assert raised.value.kind == "overloaded_error"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[" * 200_000, b'"content"'])
def test_it_refuses_a_whole_answer_that_is_no_message(body: bytes) -> None:
    with pytest.raises(UpstreamNonsenseError):
        repaired_message(body, **known({"request": {}}))


DONE = b"data: [DONE]\n\n"
START = raw({"type": "message_start", "message": {}})
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}


def begun(index: int, block: object) -> bytes:
    start = {"type": "content_block_start", "index": index, "content_block": block}
    return raw(start)


def endless_pings() -> Iterator[bytes]:
    yield from [sse.PING] * 100_000


def test_it_keeps_few_of_the_pings_before_a_message() -> None:
    it = repair({"request": {}})
    assert all(it.feed(ping) == b"" for ping in endless_pings())
    assert len(it.feed(START)) < 70_000


def test_it_keeps_few_of_the_events_that_wait_for_a_tool_call() -> None:
    it = repair({"request": {}})
    empty = {"type": "input_json_delta", "partial_json": "{}"}
    it.feed(START + begun(0, TOOL))
    it.feed(raw({"type": "content_block_delta", "index": 0, "delta": empty}))
    assert all(it.feed(ping) == b"" for ping in endless_pings())
    assert len(it.feed(raw({"type": "content_block_stop", "index": 0}))) < 70_000


def test_it_keeps_few_of_the_events_after_the_reason_to_stop() -> None:
    it = repair({"request": {}})
    it.feed(START + raw({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}))
    assert all(it.feed(ping) == b"" for ping in endless_pings())
    assert len(it.feed(raw({"type": "message_stop"}))) < 1_100_000


def test_it_gives_up_on_a_message_delta_that_is_too_long() -> None:
    it = repair({"request": {}})
    delta = {"stop_reason": "end_turn", "note": "x" * 2_000_000}
    with pytest.raises(UpstreamNonsenseError, match="too long"):
        it.feed(raw({"type": "message_delta", "delta": delta}))


def test_it_gives_up_on_blocks_without_end() -> None:
    it = repair({"request": {}})
    it.feed(START + b"".join(begun(i, {"type": "x"}) for i in range(MAX_BLOCKS)))
    with pytest.raises(UpstreamNonsenseError, match="more than 10000 blocks"):
        it.feed(begun(MAX_BLOCKS, {"type": "x"}))


def test_it_gives_up_on_tool_calls_inside_each_other_without_end() -> None:
    it = repair({"request": {}})
    it.feed(START + b"".join(begun(i, TOOL) for i in range(MAX_WAITING + 1)))
    with pytest.raises(UpstreamNonsenseError, match="inside a tool call"):
        it.feed(begun(MAX_WAITING + 1, TOOL))


def test_it_gives_up_on_an_event_without_end() -> None:
    it = repair({"request": {}})
    with pytest.raises(UpstreamNonsenseError, match="event without end"):
        it.feed(b"data: " + b"x" * sse.MAX_EVENT_BYTES)


def test_it_says_what_was_right_before_it_says_what_was_wrong() -> None:
    it = repair({"request": {}})
    assert it.feed(START + b"event: content_block_delta\ndata: {\n\n").startswith(b"event: message")
    with pytest.raises(UpstreamNonsenseError, match="not JSON"):
        it.feed(sse.PING)
    with pytest.raises(UpstreamNonsenseError, match="not JSON"):
        it.end()


def test_it_replaces_half_a_character() -> None:
    it = repair({"request": {}})
    it.feed(START + begun(0, {"type": "text", "text": ""}))
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "?"},
    }
    assert it.feed(raw(delta).replace(b"?", b"\xf0\x9f")) == raw(delta).replace(
        b"?", "\ufffd".encode()
    )


@pytest.mark.parametrize(
    "text", ["", "<html>Sign in</html>", "data: {}\n\n", "event: x\n\n", "[DONE]"]
)
def test_it_takes_nothing_else_for_a_message(text: str) -> None:
    it = repair({"request": {}})
    assert it.feed(text.encode()) == b""
    with pytest.raises(UpstreamError, match="ended its stream too early"):
        it.end()


def test_it_reads_an_error_that_is_no_event() -> None:
    it = repair({"request": {}})
    it.feed(b'{"error": {"message": "Not today", "code": 429}}\n')
    with pytest.raises(UpstreamSaidError, match="Not today") as raised:
        it.end()
    assert raised.value.kind == "rate_limit_error"
