"""Tools inside a Messages request when something is wrong: named, bounded, accounted for."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from accounts.tests.people import Person
from mcp import frames
from mcp.states import State
from tests import answers, tunnel
from tests.answers import error
from tests.asking import rows
from tests.connector import about, ready
from tests.gateway import Gateway
from tests.legality import pairs_fault
from tests.machine_work import (
    SERVERS,
    TOOLSETS,
    ask,
    content_of,
    events_of,
    histories,
    laptop,
)
from tests.test_limits import subscribe
from tests.turns import Turn, text_turn, tool_turn, usage
from tests.upstream import MESSAGES, Request, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

HTTPS = {"type": "url", "url": "https://example.com/mcp", "name": "files"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"messages": [7]}, "messages.0: Input should be an object"),
        ({"tools": []}, "no tool of type mcp_toolset names 'files'"),
        ({"tools": [*TOOLSETS, *TOOLSETS]}, "tools.1.mcp_server_name: 'files' has a toolset"),
        ({"mcp_servers": SERVERS * 2}, "mcp_servers.1.name: 'files' stands twice"),
        ({"mcp_servers": [{**SERVERS[0], "url": "tunnel://"}]}, "mcp_servers.0.url: say tunnel://"),
        (
            {"mcp_servers": [{**SERVERS[0], "url": "ftp://a/"}, {**SERVERS[0], "name": "b"}]},
            "mcp_servers.0.url: must begin",
        ),
        (
            {"mcp_servers": [{**SERVERS[0], "url": "tunnel://["}]},
            "mcp_servers.0.url: is no address",
        ),
        ({"mcp_servers": [{**SERVERS[0], "url": "tunnel://mail"}]}, "You have no server 'mail'"),
        (
            {"mcp_servers": [{**SERVERS[0], "url": "tunnel://desk/files"}]},
            "You have no server 'files' on a machine 'desk'",
        ),
        (
            {"tools": [{**TOOLSETS[0], "mcp_server_name": "mail"}]},
            "tools.0.mcp_server_name: 'mail' is not in mcp_servers",
        ),
        (
            {"tools": [{**TOOLSETS[0], "configs": {"read": {"enabled": "no"}}}]},
            "tools.0.configs.read.enabled: Input should be a valid boolean",
        ),
    ],
)
async def test_it_names_what_is_wrong_with_a_request(
    gateway: Gateway, upstream: Upstream, more: dict[str, Any], why: str
) -> None:
    async with laptop(gateway):
        answer = await ask(gateway, **more)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert why in answer.json()["error"]["message"]
    assert upstream.requests == []


async def test_it_leaves_other_servers_to_anthropic(gateway: Gateway, upstream: Upstream) -> None:
    answer = await ask(gateway, mcp_servers=[HTTPS], tools=[])
    assert answer.status_code == 200
    assert upstream.sent_to(MESSAGES)[0].json["mcp_servers"] == [HTTPS]


async def test_it_says_that_the_machine_is_offline(gateway: Gateway, upstream: Upstream) -> None:
    async with ready(gateway.url, gateway.key) as machine:
        await machine.say({"type": "bye"})
        await machine.closed()
    answer = await ask(gateway)
    assert answer.status_code == 400
    assert "The machine 'laptop' with the server files is offline." in answer.text


async def test_it_runs_no_tool_that_is_switched_off(gateway: Gateway, upstream: Upstream) -> None:
    toolset = TOOLSETS[0] | {
        "default_config": {"enabled": False},
        "configs": {"read": {"enabled": True, "defer_loading": True}},
    }
    upstream.script(tool_turn(("files_write", {})), text_turn())
    async with laptop(gateway) as handed:
        answer = (await ask(gateway, tools=[toolset])).json()
    assert handed == []
    assert answer["stop_reason"] == "tool_use"  # to the client it is a tool that nobody offered
    (tool,) = upstream.sent_to(MESSAGES)[0].json["tools"]
    assert (tool["name"], tool["defer_loading"]) == ("files_read", True)


async def test_it_shows_a_model_the_tools_that_are_pinned(
    gateway: Gateway, upstream: Upstream
) -> None:
    pinned = {"name": "read", "description": "Mine.", "input_schema": {"anyOf": [{}, {}]}}
    beta = "mcp-client-2026-09-15"
    upstream.script(text_turn(), text_turn())
    async with laptop(gateway):
        answer = (await ask(gateway, beta, tools=[TOOLSETS[0] | {"tools": [pinned]}])).json()
        listed = (await ask(gateway, beta)).json()
    sent = upstream.sent_to(MESSAGES)[0].json["tools"]
    assert sent == [
        {"name": "files_read", "description": "Mine.", "input_schema": {"type": "object"}}
    ]
    assert [block["type"] for block in answer["content"]] == ["text"]
    assert [block["type"] for block in listed["content"]] == ["mcp_tool_listing", "text"]
    assert [tool["name"] for tool in listed["content"][0]["tools"]] == ["read", "write"]


async def test_it_lets_no_model_call_tools_for_ever(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer_by(lambda _: tool_turn(("files_read", {"path": "a"})))
    async with laptop(gateway) as handed:
        pausing = (await ask(gateway)).json()
        others = (await ask(gateway, beta="")).json()
    assert len(handed) == 40
    assert (pausing["stop_reason"], pairs_fault(pausing["content"])) == ("pause_turn", None)
    assert (others["stop_reason"], pairs_fault(others["content"])) == ("end_turn", None)
    assert "this answer has had its 20 turns" in others["content"][-1]["text"]
    assert len(pausing["usage"]["iterations"]) == 20


async def test_it_tells_the_model_what_was_no_json(gateway: Gateway, upstream: Upstream) -> None:
    broken = tool_turn(("files_read", {"path": "a"}))
    events = broken.events()
    for one in events:
        if one.get("delta", {}).get("partial_json"):
            one["delta"]["partial_json"] = "{"
    upstream.script(answers.stream([*map(answers.sse, events)]), text_turn("Sorry."))
    async with laptop(gateway) as handed:
        answer = (await ask(gateway)).json()
    assert handed == []
    result = answer["content"][1]
    assert (result["is_error"], "not a JSON object" in result["content"][0]["text"]) == (True, True)
    assert histories(upstream)[-1][-1]["content"][0]["is_error"] is True


async def test_it_says_in_the_stream_that_a_later_turn_was_refused(
    gateway: Gateway, upstream: Upstream
) -> None:
    for _ in range(2):
        upstream.script(tool_turn(("files_read", {})), error(400, "invalid_request_error", "No."))
    async with laptop(gateway):
        events = await events_of(gateway)
        whole = await ask(gateway)
    assert events[-1]["error"] == {"type": "invalid_request_error", "message": "No."}
    assert (whole.status_code, whole.json()["error"]["message"]) == (400, "No.")


async def test_it_passes_on_the_first_turns_refusal(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(error(400, "invalid_request_error", "No."))
    async with laptop(gateway):
        answer = await ask(gateway, stream=True)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No.")


async def test_its_rows_sum_to_what_the_upstream_reported(
    gateway: Gateway, upstream: Upstream
) -> None:
    costs = [usage(input_tokens=number, output_tokens=number * 2) for number in (10, 20, 40)]
    upstream.script(
        tool_turn(("files_read", {}), cost=costs[0]),
        tool_turn(("files_read", {}), cost=costs[1]),
        text_turn(cost=costs[2]),
    )
    async with laptop(gateway):
        answer = await ask(gateway)
    found = await sync_to_async(rows)(3)
    root = [row for row in found if row.parent_id is None]
    assert answer.headers["request-id"] == f"req_{root[0].id.hex}"
    assert [row.parent_id for row in found if row.parent_id] == [root[0].id] * 2
    assert sum(row.input_tokens for row in found) == answer.json()["usage"]["input_tokens"] == 70
    assert sum(row.output_tokens for row in found) == answer.json()["usage"]["output_tokens"]
    called = await tunnel.rows()
    assert {call.request_id for call in called} == {answer.headers["request-id"]}


async def test_it_counts_one_request_of_the_minute_for_all_its_turns(
    gateway: Gateway, upstream: Upstream, alice: Person
) -> None:
    await sync_to_async(subscribe)(alice, requests_per_minute=2)
    call = tool_turn(("files_read", {"path": "a"}))
    upstream.script(call, call, call, text_turn("Bread."), *[text_turn("Rolls.")] * 4)
    async with laptop(gateway):
        first, *others = [
            (await ask(gateway, messages=[{"role": "user", "content": text}])).status_code
            for text in ("One", "Two", "Three", "Four", "Five")
        ]
    # Four turns, of which a minute that counts them takes two; of five requests it takes two, and
    # two more where it ends meanwhile.
    assert first == 200
    assert set(others) == {200, 429}


async def test_it_stops_the_tool_of_a_client_that_leaves(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(("files_read", {})))
    async with ready(gateway.url, gateway.key) as machine:
        asking = asyncio.create_task(ask(gateway, stream=True))
        call = await machine.hear_a(frames.Call)
        asking.cancel()
        stop = await machine.hear_a(frames.Cancel)
        assert stop.id == call.id
        await machine.say(about("result", call, outcome="cancelled"))
        await machine.hear_a(frames.Ack)
    (row,) = await tunnel.rows()
    assert row.state == State.CANCELLED


async def test_it_runs_what_was_asked_at_once_at_once(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(tool_turn(*[("files_read", {"path": name}) for name in "abc"]), text_turn())
    async with ready(gateway.url, gateway.key) as machine:
        asking = asyncio.create_task(ask(gateway))
        handed = [await machine.hear_a(frames.Call) for _ in "abc"]
        for call in reversed(handed):
            await machine.say(content_of(call))
            await machine.hear_a(frames.Ack)
        answer = (await asking).json()
    assert pairs_fault(answer["content"]) is None
    paths = [json.loads(bytes(call.params))["arguments"]["path"] for call in handed]
    assert sorted(paths) == ["a", "b", "c"]
    results = histories(upstream)[-1][-1]["content"]
    uses = histories(upstream)[-1][-2]["content"]
    assert [one["tool_use_id"] for one in results] == [one["id"] for one in uses]


async def test_it_serves_many_at_once(gateway: Gateway, upstream: Upstream) -> None:
    def says(request: Request) -> Turn:
        has_result = len(request.json["messages"]) > 1
        return text_turn("Read.") if has_result else tool_turn(("files_read", {"path": "a"}))

    upstream.answer_by(says)
    async with laptop(gateway) as handed:
        asked = [ask(gateway, metadata={"user_id": str(number)}) for number in range(20)]
        answers: list[httpx.Response] = await asyncio.gather(*asked)
    assert [one.json()["content"][-1]["text"] for one in answers] == ["Read."] * 20
    assert len(handed) == 20
