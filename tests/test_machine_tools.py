"""Tools of the user's machine inside one Messages request: asked for, run, answered, gone on."""

import json

import httpx
import pytest
from asgiref.sync import sync_to_async

from accounts.models import ApiKey
from accounts.principal import MESSAGES as MESSAGES_SCOPE
from mcp.models import ToolCall
from proxy.models import Agent
from tests import tunnel
from tests.asking import rows
from tests.gateway import Gateway
from tests.legality import pairs_fault
from tests.machine_work import BETA, BODY, EDIT, TOOLSETS, ask, events_of, histories, laptop
from tests.turns import text_turn, tool_turn
from tests.upstream import COUNT_TOKENS, COUNTED_TOKENS, MESSAGES, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")


async def test_it_runs_the_machines_tool_and_goes_on(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(tool_turn(("files_read", {"path": "a"})), text_turn("Bread and rolls."))
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
    root, step = await sync_to_async(rows)(2)
    made = await sync_to_async(ToolCall.objects.get)()
    assert (made.request_id, made.step) == (f"req_{root.id.hex}", root.id)
    assert step.parent_id == root.id


async def test_it_streams_the_same(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(tool_turn(("files_read", {"path": "a"}), text="Look:"), text_turn("Bread."))
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
    upstream.script(tool_turn(("files_read", {"path": "a"})), text_turn("Bread."))
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
    upstream.script(
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
        upstream.script(
            tool_turn(("files_read", {"path": "a"}), ("files_read", {"path": "b"}), text="Both:"),
            tool_turn(("files_read", {"path": "c"})),
            text_turn("All read."),
            text_turn("Gladly."),
        )


async def test_it_leaves_the_clients_own_tools_to_the_client(
    gateway: Gateway, upstream: Upstream
) -> None:
    tools = [EDIT, *TOOLSETS]
    upstream.script(
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


@pytest.fixture
def reader(transactional_db: None) -> Agent:
    """An agent with the files of the user's laptop."""
    return Agent.objects.create(
        slug="reader",
        name="Reader",
        instructions="You read files.",
        model="claude-opus-5-5",
        toolsets=[{"url": "tunnel://laptop/files", "deny": ["write"]}],
        most_turns=5,
    )


async def test_it_gives_an_agent_its_tools_and_instructions(
    gateway: Gateway, reader: Agent, upstream: Upstream
) -> None:
    upstream.script(tool_turn(("files_read", {"path": "a"})), text_turn("Bread and rolls."))
    plain = {"mcp_servers": None, "tools": [EDIT], "model": "claude-agent-reader"}
    async with laptop(gateway):
        answer = (await ask(gateway, "", system="Be short.", **plain)).json()
    assert answer["model"] == "claude-agent-reader"
    kinds = [block["type"] for block in answer["content"]]
    assert kinds == ["text", "mcp_tool_use", "mcp_tool_result", "text"]
    sent = upstream.sent_to(MESSAGES)[0].json
    assert [tool["name"] for tool in sent["tools"]] == ["edit", "files_read"]
    assert [block["text"] for block in sent["system"]] == ["Be short.", "You read files."]
    assert sent["model"] == "claude-opus-5-5"
    histories(upstream)
    first, second = await sync_to_async(rows)(2)
    assert (first.agent, second.agent) == ("reader", "reader")
    assert (first.requested_model, second.parent_id) == ("claude-agent-reader", first.id)


async def test_it_goes_on_without_a_machine_that_is_away(
    gateway: Gateway, reader: Agent, upstream: Upstream
) -> None:
    upstream.script(text_turn("I cannot look."))
    plain = {"mcp_servers": None, "tools": None, "model": "claude-agent-reader"}
    answer = (await ask(gateway, "", **plain)).json()
    said = [block["text"] for block in answer["content"]]
    assert said == [
        "(You have no server 'files' on a machine 'laptop'; GET /api/mcp/servers/me lists what"
        " there is.)",
        "I cannot look.",
    ]


async def test_a_key_that_may_run_no_tools_has_none(
    gateway: Gateway, reader: Agent, upstream: Upstream
) -> None:
    plain = {"mcp_servers": None, "tools": None, "model": "claude-agent-reader"}
    async with laptop(gateway):
        await ApiKey.objects.aupdate(scopes=[MESSAGES_SCOPE])
        named = await ask(gateway)
        answer = (await ask(gateway, "", **plain)).json()
    assert (named.status_code, "lacks the scope mcp-callback" in named.text) == (403, True)
    assert "lacks the scope mcp-callback" in answer["content"][0]["text"]
    assert "tools" not in upstream.sent_to(MESSAGES)[0].json


async def test_it_counts_what_the_upstream_would_be_asked(
    gateway: Gateway, reader: Agent, upstream: Upstream
) -> None:
    body = BODY | {"model": "claude-agent-reader", "system": "Be short."}
    del body["max_tokens"]
    async with laptop(gateway), httpx.AsyncClient(timeout=30, trust_env=False) as client:
        url = f"{gateway.url}{COUNT_TOKENS}"
        answer = await client.post(url, json=body, headers=gateway.headers)
    assert answer.json() == {"input_tokens": COUNTED_TOKENS}
    sent = upstream.sent_to(COUNT_TOKENS)[0].json
    assert (sent["model"], len(sent["system"])) == ("claude-opus-5-5", 2)
    assert "mcp_servers" not in sent
    assert "stream" not in sent
    assert [tool["name"] for tool in sent["tools"]] == ["files_read", "files_write"]
