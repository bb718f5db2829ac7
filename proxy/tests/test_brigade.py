"""Brigade's answers in its own dialects, however they are cut, and the names of its agents."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy import aliases
from proxy.adapters.brigade.chat import ChatReader
from proxy.adapters.brigade.lines import LineDecoder
from proxy.adapters.brigade.tasks import TaskReader, message
from proxy.adapters.brigade.telling import Setting
from proxy.answer import UpstreamError, UpstreamSaidError
from proxy.wire import message as messages
from proxy.wire import sse
from proxy.wire.signature import Signer

Json = dict[str, Any]


def setting(*stops: str) -> Setting:
    return Setting(
        model="m",
        input_tokens=7,
        stop_sequences=stops,
        signer=Signer.of("secret"),
        new_id=lambda prefix: f"{prefix}1",
    )


def whole(events: bytes) -> Json:
    return messages.assemble(json.loads(event.data) for event in sse.events(events))


def fed(reader: Any, raw: bytes, *cuts: int) -> bytes:
    decoder = LineDecoder(reader)
    told = [decoder.feed(raw[a:b]) for a, b in itertools.pairwise([0, *cuts, len(raw)])]
    return b"".join([*told, decoder.end()])


def lines(*values: Json, head: str = "data: ", end: str = "\n\n") -> bytes:
    return "".join(f"{head}{json.dumps(value)}{end}" for value in values).encode()


CHAT = lines(
    {"type": "start", "agent": "General", "model": "qwen", "tools": []},
    {"type": "token", "content": "Grüße, "},
    {"type": "surprise", "content": 1},
    {"type": "token", "content": "Ops"},
    {"type": "complete", "content": "Grüße, Ops", "toolCalls": [], "tokens": 12},
)
TASK = lines(
    {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "text": "Grüße, "},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Ops"}},
    {"type": "message_stop", "usage": {"input_tokens": 3, "output_tokens": 4}},
)


@pytest.mark.parametrize(("reader", "raw"), [(ChatReader, CHAT), (TaskReader, TASK)])
def test_it_reads_a_stream_cut_at_every_byte(reader: Callable[[Setting], Any], raw: bytes) -> None:
    for at in range(len(raw)):
        said = whole(fed(reader(setting()), raw, at))
        assert said["content"] == [{"type": "text", "text": "Grüße, Ops"}]
        assert said["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("head", "end"), [("", "\n"), ("data:", "\n"), (": hi\ndata: ", "\r\n\r\n")]
)
def test_it_reads_lines_in_every_form(head: str, end: str) -> None:
    raw = lines(
        {"type": "content_block_delta", "text": "Yes."},
        {"type": "message_stop"},
        head=head,
        end=end,
    )
    assert whole(fed(TaskReader(setting()), raw))["content"][0]["text"] == "Yes."


@pytest.mark.parametrize(("reader", "raw"), [(ChatReader, CHAT), (TaskReader, TASK)])
def test_a_stream_that_ends_early_is_no_answer(
    reader: Callable[[Setting], Any], raw: bytes
) -> None:
    cut = raw[: raw.rindex(b"data:")] + b"\n"
    with pytest.raises(UpstreamError, match="before its answer was whole"):
        fed(reader(setting()), cut)


def test_an_error_after_done_is_still_no_answer() -> None:
    raw = lines({"type": "token", "content": "Yes"}) + b"data: [DONE]\n\n"
    with pytest.raises(UpstreamError, match="before its answer was whole"):
        fed(ChatReader(setting()), raw)


def test_what_was_said_before_an_error_is_given_out_first() -> None:
    decoder = LineDecoder(ChatReader(setting()))
    raw = lines({"type": "token", "content": "Yes"}, {"type": "error", "message": "gone"})
    assert b"Yes" in decoder.feed(raw)
    with pytest.raises(UpstreamSaidError, match="gone"):
        decoder.end()


def task(**more: Any) -> bytes:
    result: dict[str, Any] = {"content": "Done.", "tool_calls": [], "stop_sequence": None}
    usage = {"input_tokens": 3, "output_tokens": 4}
    base = {"task_id": "t", "status": "completed", "result": result, "usage": usage}
    return json.dumps(base | more).encode()


@pytest.mark.parametrize(
    ("raw", "reason", "sequence"),
    [
        (task(), "end_turn", None),
        (task(status="max_tokens"), "max_tokens", None),
        (task(result={"content": "Done.", "stop_sequence": "END"}), "stop_sequence", "END"),
        (task(result={"content": "Done.", "stop_sequence": "other"}), "end_turn", None),
        (task(result={"content": "DoneEND of it"}), "stop_sequence", "END"),
        (
            task(result={"content": "", "tool_calls": [{"name": "edit", "input": {}}]}),
            "tool_use",
            None,
        ),
        (task(result="Done."), "end_turn", None),
        (task(result={"content": [{"type": "text", "text": "Done."}]}), "end_turn", None),
    ],
)
def test_it_ends_for_the_reason_that_the_task_has(raw: bytes, reason: str, sequence: str) -> None:
    said = json.loads(message(raw, setting("END")))
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)
    assert said["usage"]["output_tokens"] == 4


def test_a_tool_that_brigade_has_run_itself_is_not_the_clients() -> None:
    calls = [{"name": "x", "input": {}, "result": "y"}, {"name": "edit", "input": {"a": 1}}]
    said = json.loads(message(task(result={"content": "Now:", "tool_calls": calls}), setting()))
    assert [b["name"] for b in said["content"] if b["type"] == "tool_use"] == ["edit"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "running", "pending"])
def test_a_task_without_an_end_is_no_answer(status: str) -> None:
    with pytest.raises(UpstreamError):
        message(task(status=status, error="out of memory"), setting())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, ""),
        ({"code_writer": "gunny", "*": "the-general"}, ""),
        ([], "JSON object"),
        ({"a": "../x"}, "letters, digits"),
        ({"a": 1}, "letters, digits"),
        ({"a": ""}, "letters, digits"),
        ({"": "gunny"}, "no name"),
        ({"a\n": "gunny"}, "no name"),
        ({str(n): "gunny" for n in range(201)}, "at most 200"),
    ],
)
def test_a_table_of_aliases_is_checked(value: Any, problem: str) -> None:
    found = aliases.problem(value)
    assert problem in found and bool(problem) == bool(found)


def test_the_operators_word_goes_first() -> None:
    assert aliases.agent_of("code_writer", {}) == "cpt-fullstack"
    assert aliases.agent_of("code_writer", {"code_writer": "gunny"}) == "gunny"
    assert aliases.agent_of("gunny", {"*": "col-finance"}) == "gunny"
    assert aliases.agent_of("anything", {"*": "col-finance"}) == "col-finance"
    assert aliases.agent_of("*", {}) == "the-general"
