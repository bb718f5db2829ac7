"""The built-in demo upstream: every word it obeys, and everything odd it may be sent."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.demo import MAX_CHUNKS, MAX_SILENCE_S, WORDS, Failure, answer, count_tokens
from proxy.adapters.demo_scene import HARMLESS
from proxy.tests.test_stream import decoded, legal
from proxy.wire.message import assemble

Body = dict[str, Any]

CLAUDE_CODE = [{"name": name, "input_schema": {}} for name in ("Agent", "Bash", "Glob", "Write")]


class Run:
    """One answer of the demo, taken to its end with a clock that does not wait."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.stream = b""
        self.before_sleep = b""
        self._numbers = itertools.count(1)

    async def of(self, body: Body) -> "Run":
        async for events in answer(body, sleep=self._sleep, new_id=self._new_id):
            assert events, "an empty chunk reads as the end"
            decoded(events)  # whole events only
            self.stream += events
        self.events = legal(self.stream)
        return self

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.before_sleep = self.stream

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    @property
    def message(self) -> Body:
        return assemble(decoded(self.stream))

    @property
    def text(self) -> str:
        return "".join(b["text"] for b in self.message["content"] if b["type"] == "text")

    @property
    def calls(self) -> list[tuple[str, Body]]:
        return [(b["name"], b["input"]) for b in self.message["content"] if b["type"] == "tool_use"]


def body_of(*messages: object, **fields: object) -> Body:
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return {"model": "claude-demo", "max_tokens": 100, "messages": turns, **fields}


async def run(*messages: object, **fields: object) -> Run:
    return await Run().of(body_of(*messages, **fields))


def called(*ids: str) -> Body:
    uses = [{"type": "tool_use", "id": i, "name": "Bash", "input": {}} for i in ids]
    return {"role": "assistant", "content": uses}


def came_back(*results: tuple[str, object]) -> Body:
    blocks = [{"type": "tool_result", "tool_use_id": i, "content": c} for i, c in results]
    return {"role": "user", "content": blocks}


async def test_it_says_what_it_is_and_what_to_try() -> None:
    it = await run("  Please\nfix " + "x" * 500)
    assert "demo upstream of Ops-Center. No model is answering" in it.text
    assert f'"Please fix {"x" * 189}"' in it.text
    assert all(f"demo:{word}" in it.text for word in [*WORDS, "thinking"])
    assert it.message["model"] == "claude-demo"
    assert it.message["stop_reason"] == "end_turn"


async def test_it_answers_the_same_again() -> None:
    assert (await run("hello")).stream == (await run("hello")).stream


async def test_it_gives_ids_that_nobody_had_before() -> None:
    async def ids() -> set[str]:
        body = body_of("demo:tools", tools=CLAUDE_CODE)
        whole = b"".join([events async for events in answer(body)])
        message = assemble(legal(whole))
        return {message["id"], *(b["id"] for b in message["content"] if "id" in b)}

    first, second = await ids(), await ids()
    assert len(first) == len(second) == 3 and not first & second
    assert sorted(i.rsplit("_")[0] for i in first) == ["msg", "toolu", "toolu"]
    assert {len(i.rsplit("_")[1]) for i in first} == {24}


async def test_it_thinks() -> None:
    thinking, text = (await run("demo:thinking")).message["content"]
    assert thinking["type"] == "thinking" and thinking["thinking"] and thinking["signature"]
    assert text["type"] == "text"


async def test_it_keeps_its_thinking_back_when_asked() -> None:
    it = await run("demo:thinking", thinking={"type": "adaptive", "display": "omitted"})
    assert it.message["content"][0]["thinking"] == ""
    assert it.message["content"][0]["signature"]


async def test_it_thinks_before_it_calls() -> None:
    it = await run("demo:thinking demo:tools", tools=CLAUDE_CODE)
    kinds = [block["type"] for block in it.message["content"]]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]


async def test_it_calls_two_of_the_tools_that_are_offered() -> None:
    it = await run("demo:tools", tools=CLAUDE_CODE)
    assert it.calls == [("Bash", HARMLESS["Bash"][0]), ("Glob", HARMLESS["Glob"][0])]
    assert it.message["stop_reason"] == "tool_use"


async def test_it_calls_one_tool_twice_when_there_is_but_one() -> None:
    it = await run("demo:tools", tools=[{"name": "Bash"}])
    assert it.calls == [("Bash", inputs) for inputs in HARMLESS["Bash"]]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "offers no tools"),
        ({"tools": CLAUDE_CODE, "tool_choice": {"type": "none"}}, "offers no tools"),
        ({"tools": [{"name": "delete_everything"}]}, "no tool that I would call unasked"),
        ({"tools": [{"name": "Bash", "defer_loading": True}, {"name": "Edit"}]}, "unasked"),
    ],
)
@pytest.mark.parametrize("word", ["demo:tools", "demo:loop 2"])
async def test_it_calls_no_tool_that_may_do_harm(word: str, fields: Body, says: str) -> None:
    it = await run(word, **fields)
    assert says in it.text and not it.calls
    assert it.message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("word", ["demo:tools", 'demo:call Bash {"command": "ls"}'])
async def test_it_sums_up_what_the_tools_said(word: str) -> None:
    failed = {"type": "tool_result", "tool_use_id": "b", "content": None, "is_error": True}
    back = came_back(("a", [{"type": "text", "text": "one\ntwo"}, {"type": "image"}]))
    back["content"].append(failed)
    it = await run(word, called("a", "b"), back, tools=CLAUDE_CODE)
    assert it.text == (
        "2 tool results came back:\n- Bash: one two [image]\n- Bash failed: (no text)"
    )
    assert it.message["stop_reason"] == "end_turn"


async def test_it_quotes_shortly() -> None:
    results = [(f"{n}", "y" * 10_000) for n in range(12)]
    it = await run("demo:tools", called(), came_back(*results))
    assert it.text.endswith("- and 2 more") and len(it.text) < 2_000


async def test_it_calls_exactly_what_it_is_told() -> None:
    it = await run(
        'demo:call mcp__x__y {"a": [1, {"b": null}]}\nand demo:call Now\n'
        'demo:call Bash{"command":\n"ls"} please'
    )
    assert it.calls == [
        ("mcp__x__y", {"a": [1, {"b": None}]}),
        ("Now", {}),
        ("Bash", {"command": "ls"}),
    ]
    assert it.message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    "line",
    [
        "demo:call",
        "demo:call x [1]",
        "demo:call x {",
        "demo:call x {a: 1}",
        'demo:call x {"a": NaN}',
        "demo:call x " + '{"a":' * 50_000,
        "demo:call x soon",
    ],
)
async def test_it_makes_no_call_of_what_is_no_call(line: str) -> None:
    it = await run(line, tools=CLAUDE_CODE)
    assert it.text and not it.calls


async def test_it_loops_as_often_as_asked() -> None:
    messages: list[object] = ["demo:loop 3"]
    turns = 0
    while (it := await run(*messages, tools=CLAUDE_CODE)).calls:
        turns += 1
        assert len(it.calls) == 1
        messages += [called(f"{turns}"), came_back((f"{turns}", "ok"))]
    assert turns == 3
    assert it.text.startswith("3 tool results came back")


@pytest.mark.parametrize(("asked", "count"), [("7", 7), ("", 100), ("999999999", MAX_CHUNKS)])
async def test_it_sends_as_many_pieces_as_asked(asked: str, count: int) -> None:
    it = await run(f"demo:long {asked}")
    deltas = [e for e in it.events if e["type"] == "content_block_delta"]
    assert len(deltas) == count
    assert it.slept == [0] * (count // 100), "others get their turn in between"


@pytest.mark.parametrize(
    ("asked", "seconds"), [("2", 2), ("0.5", 0.5), ("", 5), ("99999999999", MAX_SILENCE_S)]
)
async def test_it_is_silent_in_the_middle(asked: str, seconds: float) -> None:
    it = await run(f"demo:slow {asked}")
    assert it.slept == [seconds]
    assert b"text_delta" in it.before_sleep and it.before_sleep != it.stream


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
async def test_it_fails_before_the_first_event(status: int, kind: str) -> None:
    events = answer(body_of(f"demo:thinking demo:error {status}"))
    with pytest.raises(Failure) as failed:
        await anext(events)
    assert (failed.value.status, failed.value.type) == (status, kind)
    assert (failed.value.retry_after is not None) == (status == 429)
    assert str(status) in failed.value.message


async def test_it_knows_what_is_no_error() -> None:
    assert "from 400 to 599" in (await run("demo:error 200")).text


async def test_it_breaks_off_in_the_middle() -> None:
    it = await run("demo:break")
    kinds = [event["type"] for event in it.events]
    assert "content_block_delta" in kinds and "content_block_stop" not in kinds
    assert it.events[-1]["error"]["type"] == "api_error"


async def test_it_refuses() -> None:
    message = (await run("demo:refusal")).message
    assert message["stop_reason"] == message["stop_details"]["type"] == "refusal"


async def test_it_is_cut_short() -> None:
    assert (await run("demo:max_tokens")).message["stop_reason"] == "max_tokens"


async def test_it_says_nothing_when_it_may_say_nothing() -> None:
    message = (await run("demo:long 3", max_tokens=0)).message
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    "messages",
    [
        ["demo:refusal", {"role": "assistant", "content": "No."}, "hello"],
        ["<system-reminder>demo:refusal</system-reminder>hello"],
        ["hello <system-reminder>demo:refusal"],
        ["hello", {"role": "system", "content": "demo:refusal"}],
        ["hello", {"role": "assistant", "content": "demo:refusal"}],
        ["hello", called("a"), came_back(("a", "demo:refusal"))],
        ["demo:refusals", "demo:nothing xdemo"],
    ],
)
async def test_it_hears_only_the_humans_last_word(messages: list[object]) -> None:
    assert (await run(*messages)).message["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "after",
    [
        [{"role": "system", "content": "Be brief."}],
        [{"role": "user", "content": "<system-reminder>Be brief.</system-reminder>"}],
        [{"role": "assistant", "content": "I"}],
    ],
)
async def test_it_hears_the_human_through_what_the_client_adds(after: list[object]) -> None:
    assert (await run("demo:refusal", *after)).message["stop_reason"] == "refusal"


async def test_it_hears_a_new_word_beside_tool_results() -> None:
    back = came_back(("a", "ok"))
    back["content"].append({"type": "text", "text": "demo:refusal"})
    assert (await run("demo:tools", called("a"), back)).message["stop_reason"] == "refusal"


async def test_it_takes_other_text_beside_tool_results_as_the_clients() -> None:
    back = came_back(("a", "ok"))
    back["content"].append({"type": "text", "text": "Go on."})
    it = await run("demo:loop 2", called("a"), back, tools=CLAUDE_CODE)
    assert "Turn 2 of 2." in it.text


CHECK = {"type": "dangerous_tool_use", "classifier_context": {"v": 1}}
DISABLED = {"type": "unavailable", "reason": "disabled"}


@pytest.mark.parametrize("word", ["hello", "demo:tools", "demo:refusal", "demo:max_tokens"])
async def test_it_tells_a_client_that_nobody_judges_its_tool_calls(word: str) -> None:
    it = await run(word, tools=CLAUDE_CODE, safeguards=[CHECK, CHECK])
    assert it.events[-2]["delta"]["safeguard_results"] == [
        {"type": "dangerous_tool_use", "status": DISABLED}
    ]


@pytest.mark.parametrize("odd", [None, [], {}, "x", [None], [{"type": 5}], [{}]])
async def test_it_gives_no_verdict_unasked(odd: object) -> None:
    it = await run("hello", safeguards=odd)
    assert "safeguard_results" not in it.message


async def test_it_counts_what_came_in_and_what_went_out() -> None:
    it = await run("x" * 400)
    counted = it.message["usage"]
    assert counted["input_tokens"] == it.events[0]["message"]["usage"]["input_tokens"]
    assert counted["input_tokens"] == count_tokens(body_of("x" * 400)) >= 100
    assert counted["output_tokens"] == -(-len(it.text) // 4)


def test_it_counts_system_and_tools_but_no_base64() -> None:
    plain = body_of("x")
    source = {"type": "base64", "media_type": "image/png", "data": "x" * 4_000}
    image = {"role": "user", "content": [{"type": "image", "source": source}]}
    assert count_tokens({}) == 1
    assert count_tokens(plain | {"system": "x" * 400}) == count_tokens(plain) + 100
    assert count_tokens(plain | {"tools": [{"name": "x" * 400}]}) > count_tokens(plain) + 100
    assert count_tokens(body_of(image)) < 100


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
fields = st.sampled_from(
    ["type", "text", "content", "role", "id", "name", "tool_use_id", "is_error", "input"]
)
tags = st.sampled_from(["text", "tool_result", "tool_use", "image", "user", "assistant", "system"])
lookalikes = st.recursive(
    any_json | tags | st.sampled_from(["demo:loop 2", "demo:tools", "demo:call x {}", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=15,
)
contents = any_json | lookalikes
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": contents}
)


@given(st.lists(turns | contents, max_size=5), contents, contents, contents)
async def test_it_crashes_on_nothing(
    messages: list[object], tools: object, system: object, thinking: object
) -> None:
    try:
        it = await run(*messages, tools=tools, system=system, thinking=thinking, safeguards=tools)
    except Failure:
        return
    assert it.message["stop_reason"]
    json.dumps(it.message).encode()
