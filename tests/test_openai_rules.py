"""The scripted OpenAI server refuses what OpenAI refuses, and takes what it takes."""

from typing import Any

import pytest

from tests.openai_rules import fault_of

USER = {"role": "user", "content": "Hi"}
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}}


def call(given: str = "call_1", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": "Read", "arguments": arguments}
    return {"id": given, "type": "function", "function": function}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(given: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": given, "content": "done"}


def tool(name: str = "Read", **changed: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": PARAMETERS | changed}}


def asked(**changed: Any) -> dict[str, Any]:
    return {"model": "gpt-x", "messages": [USER]} | changed


GOOD = [
    asked(),
    asked(messages=[{"role": "system", "content": "Be kind."}, USER]),
    asked(messages=[USER, calling(call("a"), call("b")), result("b"), result("a"), USER]),
    asked(tools=[tool("a"), tool("b")], tool_choice="auto", parallel_tool_calls=False),
    asked(stream=True, stream_options={"include_usage": True}, max_completion_tokens=10),
]
BAD = [
    ("model", asked(model="")),
    ("messages", asked(messages=[])),
    ("messages[0].role", asked(messages=[{"role": "human", "content": "Hi"}])),
    ("messages[0]", asked(messages=[{"role": "user", "content": None}])),
    ("messages[0].content", asked(messages=[{"role": "user", "content": [{"type": "image"}]}])),
    ("messages[1].role", asked(messages=[USER, result()])),
    ("messages[3].role", asked(messages=[USER, calling(call()), result(), result()])),
    ("messages[2]", asked(messages=[USER, calling(call()), USER])),
    ("messages", asked(messages=[USER, calling(call())])),
    ("messages[1].tool_calls", asked(messages=[USER, calling(call("x" * 41))])),
    ("messages[1].tool_calls", asked(messages=[USER, calling(call(), call())])),
    ("messages[1].tool_calls", asked(messages=[USER, calling(call(arguments="[]"))])),
    ("tools", asked(tools=[])),
    ("tools[0].function", asked(tools=[tool("x" * 65)])),
    ("tools[0].function", asked(tools=[tool("a.b")])),
    ("tools[0].function", asked(tools=[tool(), tool()])),
    ("tools[0].function", asked(tools=[tool(type="array")])),
    ("max_tokens", asked(max_tokens=1, max_completion_tokens=1)),
    ("max_tokens", asked(max_tokens=0)),
    ("stop", asked(stop=["a", "b", "c", "d", "e"])),
    ("stream_options", asked(stream_options={"include_usage": True})),
    ("tool_choice", asked(tool_choice="auto")),
    ("thinking", asked(thinking={"type": "adaptive"})),
    ("reasoning_effort", asked(reasoning_effort="max")),
]
TOLD = [
    ("seed", asked(seed=1)),
    ("messages.reasoning_content", asked(messages=[USER | {"reasoning_content": "Hm."}])),
    ("schema.$schema", asked(tools=[tool(**{"$schema": "draft"})])),
]


@pytest.mark.parametrize("body", GOOD)
def test_it_takes_what_is_right(body: dict[str, Any]) -> None:
    assert fault_of(body, unknown=()) is None


@pytest.mark.parametrize(("param", "body"), BAD)
def test_it_names_what_is_wrong(param: str, body: dict[str, Any]) -> None:
    fault = fault_of(body, unknown=())
    assert fault is not None
    assert fault.param == param


@pytest.mark.parametrize(("name", "body"), TOLD, ids=[name for name, _ in TOLD])
def test_it_refuses_what_it_was_told_not_to_know(name: str, body: dict[str, Any]) -> None:
    assert fault_of(body, unknown=()) is None
    assert fault_of(body, unknown={name}) is not None
