"""What a translated request remembers, and what it does with wrong and hostile bodies."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from proxy.adapters.openai.request import translated
from proxy.adapters.openai.translation import Profile, Translation
from proxy.wire.body import BodyError
from proxy.wire.signature import Signer

SIGNER = Signer.of("a secret")
TOOL = {"name": "db.query", "input_schema": {"type": "object"}}


def translation(
    *conceded: str,
    window: int | None = None,
    most: int | None = None,
    **fields: Any,
) -> Translation:
    body = {"max_tokens": 1024, "messages": [{"role": "user", "content": "Hi"}]} | fields
    profile = Profile(
        model="target-model",
        signer=SIGNER,
        context_window=window,
        max_output_tokens=most,
        conceded=frozenset(conceded),
    )
    return translated(body, profile)


def refusal(**fields: Any) -> str:
    with pytest.raises(BodyError) as refused:
        translation(**fields)
    return str(refused.value)


def thought(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def call(number: int, *before: Mapping[str, Any]) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "ok"}
    return [
        {"role": "assistant", "content": [*before, use]},
        {"role": "user", "content": [result]},
    ]


def test_it_returns_our_own_thinking_within_a_tool_loop() -> None:
    messages = [
        {"role": "user", "content": "one"},
        *call(1, thought("Long ago.", SIGNER.sign("Long ago."))),
        {"role": "user", "content": "two"},
        *call(2, thought("Now.", SIGNER.sign("Now.")), thought("Not ours.", "Zm9yZWlnbg==")),
        *call(3, thought("Altered.", SIGNER.sign("Before."))),
    ]
    sent = translation(messages=messages).body["messages"]
    assert [one.get("reasoning_content") for one in sent if one["role"] == "assistant"] == [
        None,
        "Now.",
        None,
    ]


def test_it_returns_no_thinking_to_a_server_that_wants_none() -> None:
    messages = [{"role": "user", "content": "one"}, *call(1, thought("Now.", SIGNER.sign("Now.")))]
    sent = translation("reasoning history", messages=messages).body["messages"]
    assert not any("reasoning_content" in message for message in sent)


def test_it_remembers_the_names_that_it_changed() -> None:
    it = translation(tools=[TOOL, TOOL | {"name": "plain"}])
    names = [tool["function"]["name"] for tool in it.body["tools"]]
    assert it.tool_names == {names[0]: "db.query"}
    assert names[1] == "plain"


def test_it_gives_different_names_to_tools_that_would_look_alike() -> None:
    names = ["db.query", "db query", "db/query", "x" * 65, "x" * 66]
    sent = translation(tools=[TOOL | {"name": name} for name in names]).body["tools"]
    assert len({tool["function"]["name"] for tool in sent}) == len(names)
    assert all(len(tool["function"]["name"]) <= 64 for tool in sent)


@pytest.mark.parametrize(
    ("kind", "commands", "inserted"),
    [
        ("text_editor_20250728", {"view", "create", "str_replace", "insert"}, True),
        ("text_editor_20250124", {"view", "create", "str_replace", "insert", "undo_edit"}, False),
        (
            "memory_20250818",
            {"view", "create", "str_replace", "insert", "delete", "rename"},
            True,
        ),
    ],
)
def test_it_writes_out_the_schema_of_a_tool_known_by_heart(
    kind: str, commands: set[str], inserted: bool
) -> None:
    sent = translation(tools=[{"type": kind, "name": "editor"}]).body["tools"][0]["function"]
    properties = sent["parameters"]["properties"]
    assert set(properties["command"]["enum"]) == commands
    assert ("insert_text" in properties) == inserted


def test_it_remembers_all_stop_sequences_and_verdicts() -> None:
    it = translation(stop_sequences=list("abcdef"), safeguards=[{"type": "dangerous_tool_use"}])
    assert list(it.stop_sequences) == list("abcdef")
    assert list(it.safeguards) == ["dangerous_tool_use"]
    assert "safeguards" not in it.body


def test_it_keeps_the_answer_within_the_window() -> None:
    text = "word " * 500
    tokens = translation(messages=[{"role": "user", "content": text}]).input_tokens
    body = translation(
        messages=[{"role": "user", "content": text}], window=tokens + 1000, max_tokens=32000
    ).body
    assert 1000 - tokens // 10 == body["max_tokens"]


def test_it_asks_for_at_least_one_token_in_a_full_window() -> None:
    tokens = translation().input_tokens
    assert translation(window=tokens).body["max_tokens"] == 1
    assert refusal(window=tokens - 1) == (
        f"prompt is too long: {tokens} tokens > {tokens - 1} maximum"
    )


def test_it_counts_what_it_sends() -> None:
    said = translation(messages=[{"role": "user", "content": "word " * 1000}])
    assert said.input_tokens > translation().input_tokens + 900


def test_it_does_not_count_what_it_does_not_send() -> None:
    hidden = TOOL | {"defer_loading": True, "description": "word " * 1000}
    assert (
        translation(tools=[TOOL]).input_tokens
        == translation(tools=[TOOL, hidden | {"name": "hidden"}]).input_tokens
    )


RICH: dict[str, Any] = {
    "max_tokens": 10,
    "system": [{"type": "text", "text": "S"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "url", "url": "u"}},
                {"type": "document", "source": {"type": "content", "content": "c"}, "title": "t"},
                {"type": "document", "source": {"type": "base64", "data": "YQ=="}},
                {"type": "search_result", "title": "t", "source": "s", "content": []},
            ],
        },
        {
            "role": "assistant",
            "content": [
                thought("x", "y"),
                {"type": "server_tool_use", "id": "s", "name": "n", "input": {}},
                {"type": "tool_use", "id": "i", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "i",
                    "content": [{"type": "tool_reference", "tool_name": "f"}],
                    "is_error": True,
                }
            ],
        },
        {
            "role": "system",
            "content": [
                {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}},
                {
                    "type": "tool_addition",
                    "tool": {
                        "type": "tool_definition",
                        "definition": {"name": "g", "input_schema": {}},
                    },
                },
            ],
        },
    ],
    "tools": [
        {
            "name": "f",
            "description": "d",
            "defer_loading": True,
            "input_schema": {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/x", "allOf": [{"enum": [1]}]}},
                "required": ["a"],
                "$defs": {"x": {"anyOf": [{"items": {"const": 1}}]}},
            },
        },
        {"type": "bash_20250124", "name": "bash"},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"a": 1}}},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "temperature": 1,
    "safeguards": [{"type": "dangerous_tool_use"}],
    "stream": True,
}
WRONG: list[Any] = [None, 5, True, "x", "", [], {}, [5], [None], {"type": 5}, {"type": "text"}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside `value`."""
    parts = value.items() if isinstance(value, dict) else []
    for name, part in enumerate(value) if isinstance(value, list) else parts:
        yield (*path, name)
        yield from places(part, (*path, name))


@pytest.mark.parametrize("conceded", [(), ("schema keywords", "late system", "images", "files")])
@pytest.mark.parametrize("path", list(places(RICH)), ids=lambda path: ".".join(map(str, path)))
def test_it_answers_or_refuses_whatever_stands_anywhere(
    path: tuple[Any, ...], conceded: tuple[str, ...]
) -> None:
    for wrong in WRONG:
        body = copy.deepcopy(RICH)
        inner: Any = body
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = wrong
        try:
            sent = translation(*conceded, **body).body
        except BodyError as refused:
            assert str(refused)
        else:
            assert msgspec.json.encode(sent)


def test_the_rich_body_itself_is_no_wrong_one() -> None:
    assert translation(**RICH).body["tools"]


def test_it_names_the_place_of_a_lone_surrogate() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]
    problem = "Input should be valid Unicode, without lone surrogates"
    assert refusal(messages=messages) == f"messages.0.content.0: {problem}"
    assert refusal(system="\udfff") == f"system: {problem}"


def test_it_refuses_what_is_nested_too_deeply() -> None:
    deep: Any = {}
    for _ in range(2000):
        deep = {"a": deep}
    tool = TOOL | {"input_schema": deep}
    assert refusal(tools=[tool]) == "tools.0.input_schema.a: Input is nested too deeply"


def test_it_leaves_room_for_what_is_put_around_the_deepest_body() -> None:
    deep: Any = {}
    deepest: Any = None
    for depth in range(2000):
        deep = {"a": deep}
        if depth < 800:  # well within the bound
            continue
        try:
            deepest = translation(tools=[TOOL | {"input_schema": deep}]).body
        except BodyError:
            break
    for _ in range(10):
        deepest = [deepest]
    assert msgspec.json.encode(deepest)


def test_it_takes_as_many_messages_as_the_api() -> None:
    message = {"role": "user", "content": ""}
    said = "messages: List should have at most 100000 items"
    assert refusal(messages=[message] * 100_001) == said
    assert refusal(messages=[message] * 100_000) == "messages: at least one message is required"
