"""The built-in demo upstream: every word it obeys, and everything odd it may be sent."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.demo import MAX_CHUNKS, MAX_SILENCE_S, WORDS, Failure, answer, count_tokens
from proxy.adapters.demo_scene import HARMLESS
from proxy.tests.test_message import values
from proxy.tests.test_stream import decoded, legal
from proxy.wire.message import assemble

Body = dict[str, Any]

CLAUDE_CODE: list[Body] = [{"name": name} for name in ("Agent", "Bash", "Glob", "Write")]


class Run:
    """One answer of the demo, taken to its end with a clock that does not wait."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.slept: list[tuple[float, int]] = []  # how long, and after how many chunks

    async def of(self, body: Body) -> "Run":
        numbers = itertools.count(1)
        said = answer(body, sleep=self._sleep, new_id=lambda prefix: f"{prefix}{next(numbers)}")
        async for events in said:
            assert decoded(events), "whole events only; an empty chunk would read as the end"
            self.chunks.append(events)
        self.events = legal(b"".join(self.chunks))
        return self

    async def _sleep(self, seconds: float) -> None:
        self.slept.append((seconds, len(self.chunks)))

    @property
    def message(self) -> Body:
        return assemble(self.events)

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
    assert (await run("hello")).chunks == (await run("hello")).chunks, "the same again"
    assert (await run(f"Review: {it.text}", tools=CLAUDE_CODE)).calls == [], "quoted, not asked"


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
    assert thinking["thinking"] and thinking["signature"] and text["text"]


async def test_it_thinks_before_it_calls_and_keeps_back_what() -> None:
    omitted = {"type": "adaptive", "display": "omitted"}
    it = await run("demo:thinking demo:tools", tools=CLAUDE_CODE, thinking=omitted)
    kinds = [block["type"] for block in it.message["content"]]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert it.message["content"][0]["thinking"] == "" != it.message["content"][0]["signature"]


async def test_it_calls_two_of_the_tools_that_are_offered() -> None:
    it = await run("demo:tools", tools=CLAUDE_CODE)
    assert it.calls == [("Bash", HARMLESS["Bash"][0]), ("Glob", HARMLESS["Glob"][0])]
    assert it.message["stop_reason"] == "tool_use"
    it = await run("demo:tools", tools=[{"name": "Bash"}])
    assert it.calls == [("Bash", inputs) for inputs in HARMLESS["Bash"]]


HARMFUL: list[Body] = [{"name": "delete"}, {"name": "Bash", "defer_loading": True}]
NO_TOOLS: list[Body] = [{}, {"tools": CLAUDE_CODE, "tool_choice": {"type": "none"}}]


@pytest.mark.parametrize("fields", [{"tools": HARMFUL}, *NO_TOOLS])
@pytest.mark.parametrize("word", ["demo:tools", "demo:loop 2"])
async def test_it_calls_no_tool_that_may_do_harm(word: str, fields: Body) -> None:
    it = await run(word, **fields)
    assert "The request offers no tool" in it.text and not it.calls
    assert it.message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("word", ["demo:tools", 'demo:call Bash {"command": "ls"}'])
async def test_it_sums_up_what_the_tools_said(word: str) -> None:
    failed = {"type": "tool_result", "tool_use_id": "b", "content": None, "is_error": True}
    back = came_back(("a", [{"type": "text", "text": "one\ntwo"}, {"type": "image"}]))
    back["content"].append(failed)
    it = await run(word, called("a", "b"), back, tools=CLAUDE_CODE)
    assert it.text.splitlines()[1:] == ["- Bash: one two [image]", "- Bash failed: (no text)"]
    assert it.message["stop_reason"] == "end_turn"


async def test_it_quotes_shortly() -> None:
    results = [(f"{n}", "y" * 10_000) for n in range(12)]
    it = await run("demo:tools", called(), came_back(*results))
    assert it.text.endswith("- and 2 more") and len(it.text) < 2_000


async def test_it_calls_exactly_what_it_is_told() -> None:
    first, last = 'demo:call mcp__x__y {"a": [1, null]}', 'demo:call Bash{"a":\n"ls"}!'
    it = await run(f"{first}\nand demo:call Now\n{last}")
    assert it.calls == [("mcp__x__y", {"a": [1, None]}), ("Now", {}), ("Bash", {"a": "ls"})]
    assert it.message["stop_reason"] == "tool_use"


NO_CALLS = ["", "x [1]", "x {", "x {a: 1}", 'x {"a": NaN}', "x soon", "x " + '{"a":' * 50_000]


@pytest.mark.parametrize("line", NO_CALLS, ids=range(len(NO_CALLS)))
async def test_it_makes_no_call_of_what_is_no_call(line: str) -> None:
    it = await run(f"demo:call {line}", tools=CLAUDE_CODE)
    assert it.text and not it.calls


async def test_it_loops_as_often_as_asked() -> None:
    messages, turns = list[object](["demo:loop 3"]), 0
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
    assert len(it.slept) == count // 100, "others get their turn in between"


@pytest.mark.parametrize(
    ("asked", "seconds"), [("2", 2), ("0.5", 0.5), ("", 5), ("99999999999", MAX_SILENCE_S)]
)
async def test_it_is_silent_in_the_middle(asked: str, seconds: float) -> None:
    it = await run(f"demo:slow {asked}")
    [(slept, after)] = it.slept
    assert slept == seconds
    assert b"text_delta" in it.chunks[after - 1] and b"text_delta" in it.chunks[after]


KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error"}
KINDS |= {403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
KINDS |= {418: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}
KINDS |= {503: "api_error", 529: "overloaded_error"}


@pytest.mark.parametrize(("status", "kind"), KINDS.items())
async def test_it_fails_before_the_first_event(status: int, kind: str) -> None:
    with pytest.raises(Failure) as failed:
        await anext(answer(body_of(f"demo:thinking demo:error {status}")))
    assert (failed.value.status, failed.value.type) == (status, kind)
    assert (failed.value.retry_after is not None) == (status == 429)
    assert str(status) in failed.value.message
    assert "from 400 to 599" in (await run("demo:error 200")).text


async def test_it_breaks_off_in_the_middle() -> None:
    it = await run("demo:break")
    kinds = [event["type"] for event in it.events]
    assert "content_block_delta" in kinds and "content_block_stop" not in kinds
    assert it.events[-1]["error"]["type"] == "api_error"


async def test_it_ends_for_other_reasons() -> None:
    refused, cut = (await run("demo:refusal")).message, (await run("demo:max_tokens")).message
    assert refused["stop_reason"] == refused["stop_details"]["type"] == "refusal"
    assert cut["stop_reason"] == "max_tokens" and cut["content"]


async def test_it_says_nothing_when_it_may_say_nothing() -> None:
    message = (await run("demo:error 500", max_tokens=0)).message
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0


OLD_OR_NOT_HUMAN: list[list[object]] = [
    ["demo:refusal", {"role": "assistant", "content": "No."}, "hello"],
    ["<system-reminder>demo:refusal</system-reminder>hello"],
    ["hello <system-reminder>demo:refusal"],
    ["hello", *({"role": r, "content": "demo:refusal"} for r in ("system", "assistant"))],
    ["hello", called("a"), came_back(("a", "demo:refusal"))],
    ["demo:refusals and demo:nothing"],
]


@pytest.mark.parametrize("messages", OLD_OR_NOT_HUMAN, ids=range(len(OLD_OR_NOT_HUMAN)))
async def test_it_hears_only_the_humans_last_word(messages: list[object]) -> None:
    assert (await run(*messages)).message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
async def test_it_hears_the_human_through_what_the_client_adds(role: str) -> None:
    after = {"role": role, "content": "<system-reminder>Be brief.</system-reminder>"}
    assert (await run("demo:refusal", after)).message["stop_reason"] == "refusal"


@pytest.mark.parametrize(("text", "says"), [("demo:refusal", "refuse"), ("Go on.", "Turn 2 of 2")])
async def test_it_hears_only_words_beside_tool_results(text: str, says: str) -> None:
    back = came_back(("a", "ok"))
    back["content"].append({"type": "text", "text": text})
    assert says in (await run("demo:loop 2", called("a"), back, tools=CLAUDE_CODE)).text


CHECK = {"type": "dangerous_tool_use", "classifier_context": {"v": 1}}
VERDICT = {"type": CHECK["type"], "status": {"type": "unavailable", "reason": "disabled"}}


@pytest.mark.parametrize("word", ["hello", "demo:tools", "demo:refusal", "demo:max_tokens"])
async def test_it_tells_a_client_that_nobody_judges_its_tool_calls(word: str) -> None:
    it = await run(word, tools=CLAUDE_CODE, safeguards=[CHECK, CHECK])
    assert it.events[-2]["delta"]["safeguard_results"] == [VERDICT]


@pytest.mark.parametrize("odd", [None, [], {}, "x", [None], [{"type": 5}], [{}]])
async def test_it_gives_no_verdict_unasked(odd: object) -> None:
    it = await run("hello", safeguards=odd)
    assert "safeguard_results" not in it.message


async def test_it_counts_what_came_in_and_what_went_out() -> None:
    it = await run("x" * 400)
    assert it.message["usage"]["input_tokens"] == count_tokens(body_of("x" * 400)) >= 100
    assert it.message["usage"]["output_tokens"] == -(-len(it.text) // 4)


def test_it_counts_system_and_tools_but_no_base64() -> None:
    plain = body_of("x")
    source = {"type": "base64", "media_type": "image/png", "data": "x" * 4_000}
    image = {"role": "user", "content": [{"type": "image", "source": source}]}
    assert count_tokens({}) == 1
    assert count_tokens(plain | {"system": "x" * 400}) == count_tokens(plain) + 100
    assert count_tokens(plain | {"tools": [{"name": "x" * 400}]}) > count_tokens(plain) + 100
    assert count_tokens(body_of(image)) < 100


fields = st.sampled_from(["type", "text", "content", "role", "id", "name", "tool_use_id"])
tags = st.sampled_from(["text", "tool_result", "tool_use", "image", "user", "assistant", "system"])
lookalikes = st.recursive(
    values | tags | st.sampled_from(["demo:loop 2", "demo:tools", "demo:call x {}", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=15,
)
contents = values | lookalikes
turns = st.fixed_dictionaries({"role": tags, "content": contents})


@given(st.lists(turns | contents, max_size=5), contents, contents, contents)
async def test_it_crashes_on_nothing(
    messages: list[object], tools: object, system: object, thinking: object
) -> None:
    it = await run(*messages, tools=tools, system=system, thinking=thinking, safeguards=tools)
    assert it.message["stop_reason"]
