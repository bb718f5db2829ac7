"""Tools of the user's machine inside one Messages request: asked for, run, answered, gone on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mcp import frames
from tests import tunnel
from tests.connector import Machine, about, done, ready
from tests.gateway import Gateway
from tests.legality import history_fault, pairs_fault, stream_fault
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import MESSAGES, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

BETA = "mcp-client-2025-11-20"
SERVERS = [{"type": "url", "url": "tunnel://laptop/files", "name": "files"}]
TOOLSETS: list[Any] = [{"type": "mcp_toolset", "mcp_server_name": "files"}]
BODY: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "What is in a?"}],
    "mcp_servers": SERVERS,
    "tools": TOOLSETS,
}
EDIT = {"name": "edit", "description": "Edit.", "input_schema": {"type": "object"}}
Says = Callable[[frames.Call], dict[str, Any]]


def content_of(call: frames.Call) -> dict[str, Any]:
    return done(call, "bread and rolls")


@asynccontextmanager
async def laptop(gateway: Gateway, says: Says = content_of) -> AsyncIterator[list[frames.Call]]:
    """A machine that answers each call; the calls it was handed."""
    handed: list[frames.Call] = []
    async with ready(gateway.url, gateway.key) as machine:
        working = asyncio.create_task(_work(machine, handed, says))
        try:
            yield handed
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if not working.cancelled():
            await working


async def _work(machine: Machine, handed: list[frames.Call], says: Says) -> None:
    while True:
        frame = await machine.hear()
        if isinstance(frame, frames.Call):
            handed.append(frame)
            if not frame.begun:
                await machine.say(about("start", frame))
            await machine.say(says(frame))


async def ask(gateway: Gateway, beta: str = BETA, **more: Any) -> httpx.Response:
    """The request in one piece."""
    headers = gateway.headers | ({"anthropic-beta": beta} if beta else {})
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        url = f"{gateway.url}{MESSAGES}"
        return await client.post(url, json=BODY | more, headers=headers)


async def events_of(gateway: Gateway, beta: str = BETA, **more: Any) -> list[dict[str, Any]]:
    """The events of the same, which must be a legal stream."""
    answer = await ask(gateway, beta, stream=True, **more)
    assert answer.status_code == 200, answer.text
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert stream_fault(events) is None
    return events


def script(upstream: Upstream, *turns: Turn) -> None:
    upstream.script(*turns)


def histories(upstream: Upstream) -> list[list[dict[str, Any]]]:
    """The messages that the upstream was sent, each time; all are legal."""
    found = [request.json["messages"] for request in upstream.sent_to(MESSAGES)]
    assert [history_fault(messages) for messages in found] == [None] * len(found)
    return found


async def test_it_runs_the_machines_tool_and_goes_on(gateway: Gateway, upstream: Upstream) -> None:
    script(upstream, tool_turn(("files_read", {"path": "a"})), text_turn("Bread and rolls."))
    async with laptop(gateway) as handed:
        answer = (await ask(gateway)).json()
    assert [json.loads(bytes(call.params)) for call in handed] == [
        {"name": "read", "arguments": {"path": "a"}}
    ]
    use, result, text = answer["content"]
    assert use["type"] == "mcp_tool_use"
    assert (use["server_name"], use["name"], use["input"]) == ("files", "read", {"path": "a"})
    assert result == {
        "type": "mcp_tool_result",
        "tool_use_id": use["id"],
        "is_error": False,
        "content": [{"type": "text", "text": "bread and rolls"}],
    }
    assert (text["text"], answer["stop_reason"]) == ("Bread and rolls.", "end_turn")
    first, second = upstream.sent_to(MESSAGES)
    assert "mcp_servers" not in first.json
    assert [tool["name"] for tool in first.json["tools"]] == ["files_read", "files_write"]
    assert "anthropic-beta" not in first.headers
    assert second.json["messages"][-1]["content"][0]["content"] == result["content"]
    histories(upstream)


async def test_it_streams_the_same(gateway: Gateway, upstream: Upstream) -> None:
    script(upstream, tool_turn(("files_read", {"path": "a"}), text="Look:"), text_turn("Bread."))
    async with laptop(gateway):
        events = await events_of(gateway)
    begun = [one["content_block"] for one in events if one["type"] == "content_block_start"]
    assert [block["type"] for block in begun] == [
        "text",
        "mcp_tool_use",
        "mcp_tool_result",
        "text",
    ]
    parts = [one["delta"].get("partial_json", "") for one in events if "delta" in one]
    assert json.loads("".join(parts)) == {"path": "a"}
    usage = next(one for one in events if one["type"] == "message_delta")["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (50, 30)
    assert [one["input_tokens"] for one in usage["iterations"]] == [25, 25]


async def test_it_says_whole_blocks_and_a_line_to_who_knows_no_beta(
    gateway: Gateway, upstream: Upstream
) -> None:
    script(upstream, tool_turn(("files_read", {"path": "a"})), text_turn("Bread."))
    async with laptop(gateway):
        events = await events_of(gateway, beta="")
    begun = [one["content_block"] for one in events if one["type"] == "content_block_start"]
    assert [block["type"] for block in begun] == ["text", "mcp_tool_use", "mcp_tool_result", "text"]
    assert begun[1]["input"] == {"path": "a"}
    said = [one["delta"]["text"] for one in events if one.get("delta", {}).get("text")]
    assert said[0] == '[files] read {"path":"a"}'


async def test_it_takes_the_history_back_to_what_the_upstream_said(
    gateway: Gateway, upstream: Upstream
) -> None:
    script(
        upstream,
        tool_turn(("files_read", {"path": "a"}), ("files_read", {"path": "b"}), text="Both:"),
        tool_turn(("files_read", {"path": "c"})),
        text_turn("All read."),
        text_turn("Gladly."),
    )
    for beta in ("", BETA):
        async with laptop(gateway):
            first = (await ask(gateway, beta)).json()
            assert pairs_fault(first["content"]) is None
            again = [
                *BODY["messages"],
                {"role": "assistant", "content": first["content"]},
                {"role": "user", "content": "Thanks."},
            ]
            await ask(gateway, beta, messages=again)
        told = histories(upstream)
        assert told[-1][: len(told[-2])] == told[-2]  # so that the upstream's cache fits
        upstream.requests.clear()
        script(
            upstream,
            tool_turn(("files_read", {"path": "a"}), ("files_read", {"path": "b"}), text="Both:"),
            tool_turn(("files_read", {"path": "c"})),
            text_turn("All read."),
            text_turn("Gladly."),
        )


async def test_it_leaves_the_clients_own_tools_to_the_client(
    gateway: Gateway, upstream: Upstream
) -> None:
    tools = [EDIT, *TOOLSETS]
    script(
        upstream,
        tool_turn(("files_read", {"path": "a"}), ("edit", {"to": "b"})),
        text_turn("Done."),
    )
    async with laptop(gateway) as handed:
        first = (await ask(gateway, tools=tools)).json()
        assert first["stop_reason"] == "tool_use"
        kinds = [block["type"] for block in first["content"]]
        assert kinds == ["mcp_tool_use", "tool_use", "mcp_tool_result"]
        edited = {"type": "tool_result", "tool_use_id": first["content"][1]["id"], "content": "ok"}
        again = [
            *BODY["messages"],
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [edited]},
        ]
        second = (await ask(gateway, tools=tools, messages=again)).json()
    assert second["content"][0]["text"] == "Done."
    assert len(handed) == 1
    last = histories(upstream)[-1]
    assert [block["type"] for block in last[-1]["content"]] == ["tool_result", "tool_result"]
