"""Several agents at one request: each is a row, what fails is told, and nothing works on alone."""

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from proxy.models import Agent, Crew, CrewMember
from tests import answers, tunnel
from tests.answers import error
from tests.asking import rows
from tests.gateway import Gateway
from tests.legality import pairs_fault
from tests.machine_work import EDIT, SERVERS, TOOLSETS, ask, events_of, histories, laptop
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import MESSAGES, Request, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

MODEL = "claude-opus-5-5"


def plain(model: str, **more: Any) -> dict[str, Any]:
    """What a client without any beta sends."""
    return {"mcp_servers": None, "tools": None, "model": model, **more}


def agent(slug: str, **more: Any) -> Agent:
    return Agent.objects.create(
        slug=slug, name=slug.title(), instructions=f"You are the {slug}.", model=MODEL, **more
    )


@sync_to_async
def crew(kind: str, *slugs: str, last: str = "", **more: Any) -> Crew:
    """A crew of new agents, without those of the first migration."""
    Crew.objects.all().delete()
    Agent.objects.all().delete()
    if last:
        more["synthesizer"] = agent(last)
    made = Crew.objects.create(slug="team", name="Team", kind=kind, **more)
    for position, slug in enumerate(slugs):
        CrewMember.objects.create(crew=made, agent=agent(slug), position=position)
    return made


def texts(answer: dict[str, Any]) -> list[str]:
    return [block["text"] for block in answer["content"] if block["type"] == "text"]


def instructed(request: Request) -> str:
    """Whose instructions a request to the upstream carries."""
    return str(request.json["system"][-1]["text"])


async def test_it_has_the_work_reviewed_and_done_again(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("chain", "writer", "tester", rounds=3)
    upstream.script(
        text_turn("def f(): return 1"),
        text_turn("It must return 2."),
        text_turn("def f(): return 2"),
        text_turn("It is right.\n\n**ACCEPTED**"),
        text_turn("It is right.\n\n**ACCEPTED**"),
    )
    answer = (await ask(gateway, "", **plain("claude-crew-team"))).json()
    assert texts(answer) == [
        "def f(): return 1",
        "[Tester]",
        "It must return 2.",
        "[Writer]",
        "def f(): return 2",
        "[Tester]",
        "It is right.\n\n**ACCEPTED**",
    ]
    assert (answer["stop_reason"], answer["usage"]["input_tokens"]) == ("end_turn", 100)
    who = [instructed(request) for request in upstream.sent_to(MESSAGES)]
    assert who == [f"You are the {one}." for one in ("writer", "tester", "writer", "tester")]
    histories(upstream)
    found = await sync_to_async(rows)(4)
    assert [row.agent for row in found] == ["writer", "tester", "writer", "tester"]
    assert {row.parent_id for row in found[1:]} == {found[0].id}


async def test_it_tells_that_a_step_failed(gateway: Gateway, upstream: Upstream) -> None:
    await crew("chain", "writer", "tester")
    upstream.script(text_turn("Done."), error(400, "invalid_request_error", "No tester today."))
    answer = (await ask(gateway, "", **plain("claude-crew-team"))).json()
    assert texts(answer) == ["Done.", "[Tester]", "(Tester failed: No tester today.)"]
    assert answer["stop_reason"] == "end_turn"


async def test_it_goes_on_though_all_of_it_is_deleted_meanwhile(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("chain", "writer", "tester")
    gate, events = answers.Gate(), text_turn("Done.").events()
    upstream.script(answers.stream([*events[:4], gate, *events[4:]]), text_turn("ACCEPTED"))
    asking = asyncio.create_task(ask(gateway, "", **plain("claude-crew-team")))
    await asyncio.to_thread(gate.reached.wait)
    await sync_to_async(lambda: (Crew.objects.all().delete(), Agent.objects.all().delete()))()
    gate.open()
    assert texts((await asking).json()) == ["Done.", "[Tester]", "ACCEPTED"]
    after = await ask(gateway, "", **plain("claude-crew-team", metadata={"user_id": "again"}))
    assert after.status_code == 404
    assert after.json()["error"]["type"] == "not_found_error"


async def test_it_leaves_the_clients_tools_to_the_first(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("chain", "writer", "tester")
    upstream.script(tool_turn(("edit", {"a": 1})))
    asked = plain("claude-crew-team") | {"tools": [EDIT]}
    first = (await ask(gateway, "", **asked)).json()
    assert (first["stop_reason"], first["content"][0]["name"]) == ("tool_use", "edit")
    upstream.script(
        text_turn("Edited."),
        tool_turn(("edit", {"b": 2})),
        text_turn("It is right.\n\n**ACCEPTED**"),
    )
    result = {"type": "tool_result", "tool_use_id": first["content"][0]["id"], "content": "ok"}
    again = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    second = (await ask(gateway, "", **asked, messages=again)).json()
    assert second["stop_reason"] == "end_turn"
    assert pairs_fault(second["content"]) is None
    told = next(one for one in second["content"] if one["type"] == "mcp_tool_result")
    assert "may not use this tool" in told["content"][0]["text"]
    histories(upstream)


async def test_it_asks_all_at_once_and_has_one_answer(gateway: Gateway, upstream: Upstream) -> None:
    await crew("fan_out", "cook", "baker", last="waiter")

    def says(request: Request) -> Turn:
        who = instructed(request)
        if "waiter" in who:
            said = request.json["messages"][-1]["content"][-1]["text"]
            assert "## Cook\nSoup." in said
            assert "## Baker\nBread." in said
            return text_turn("Soup with bread.")
        return text_turn("Soup." if "cook" in who else "Bread.")

    upstream.answer_by(says)
    events = await events_of(gateway, "", **plain("claude-crew-team"))
    said = "".join(one["delta"].get("text", "") for one in events if "delta" in one)
    assert said == "[Waiter]Soup with bread."
    usage = next(one["usage"] for one in events if one["type"] == "message_delta")
    assert (usage["input_tokens"], len(usage["iterations"])) == (75, 3)
    histories(upstream)
    found = await sync_to_async(rows)(3)
    assert sorted(row.agent for row in found) == ["baker", "cook", "waiter"]
    assert sum(row.parent_id is None for row in found) == 1


async def test_it_answers_though_one_of_them_failed(gateway: Gateway, upstream: Upstream) -> None:
    await crew("fan_out", "cook", "baker")

    def says(request: Request) -> Any:
        if "baker" in instructed(request):
            return error(400, "invalid_request_error", "No flour.")
        return text_turn("Soup.")

    upstream.answer_by(says)
    answer = (await ask(gateway, "", **plain("claude-crew-team"))).json()
    assert texts(answer) == ["(Baker failed: No flour.)", "[Cook]", "Soup."]


async def test_ids_that_an_upstream_counts_from_one_stay_apart(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("fan_out", "writer", "tester", last="chief")
    call = tool_turn(("files_read", {"path": "a"}))
    use = call.blocks[-1]["id"]

    def says(request: Request) -> answers.Answer | Turn:
        if instructed(request) == "You are the chief.":
            return text_turn("Both have looked.")
        if len(request.json["messages"]) > 1:
            return text_turn("I have looked.")
        named = json.dumps(call.events()).replace(use, "call_1")
        path = instructed(request).split()[-1].rstrip(".")
        return answers.stream(json.loads(named.replace('\\"a\\"', f'\\"{path}\\"')))

    upstream.answer_by(says)
    body = plain("claude-crew-team", mcp_servers=SERVERS, tools=TOOLSETS)
    async with laptop(gateway) as handed:
        answer = (await ask(gateway, **body)).json()
    uses = [one["id"] for one in answer["content"] if one["type"] == "mcp_tool_use"]
    assert len(set(uses)) == len(uses) == 2
    paths = [json.loads(bytes(one.params))["arguments"]["path"] for one in handed]
    assert sorted(paths) == ["tester", "writer"]


async def test_an_agent_has_its_bounds_once_however_often_it_revises(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("chain", "writer", "tester", rounds=5)
    await sync_to_async(Agent.objects.filter(slug="writer").update)(most_calls=1)
    call = tool_turn(("files_read", {"path": "a"}))

    def says(request: Request) -> Turn:
        if instructed(request) == "You are the tester.":
            return text_turn("CHANGES NEEDED")
        last = request.json["messages"][-1]["content"]
        has_result = isinstance(last, list) and last[-1]["type"] == "tool_result"
        return text_turn("Done.") if has_result else call

    upstream.answer_by(says)
    body = plain("claude-crew-team", mcp_servers=SERVERS, tools=TOOLSETS)
    async with laptop(gateway) as handed:
        await ask(gateway, **body)
    assert len(handed) == 1


async def test_it_says_that_all_have_failed(gateway: Gateway, upstream: Upstream) -> None:
    await crew("fan_out", "cook", "baker")
    upstream.answer_by(lambda _: error(400, "invalid_request_error", "Closed."))
    answer = await ask(gateway, "", **plain("claude-crew-team"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "Closed." in answer.text


async def test_it_says_that_all_have_failed_for_reasons_of_their_own(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("fan_out", "cook", "baker")
    upstream.answer_by(
        lambda request: error(400, "invalid_request_error", f"No {instructed(request)}")
    )
    answer = await ask(gateway, "", **plain("claude-crew-team"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "api_error")
    assert "All agents of the crew have failed" in answer.text


async def test_it_shows_what_the_tools_of_all_of_them_did(
    gateway: Gateway, upstream: Upstream
) -> None:
    await crew("fan_out", "cook", "baker")
    await Agent.objects.aupdate(toolsets=[{"url": "tunnel://laptop/files"}])

    def says(request: Request) -> Turn:
        is_first = len(request.json["messages"]) == 1
        is_asked = isinstance(request.json["messages"][0]["content"], list)  # with others' work
        if is_first and not is_asked:
            return tool_turn(("files_read", {"path": instructed(request)}))
        return text_turn("Read.")

    upstream.answer_by(says)
    async with laptop(gateway) as handed:
        answer = (await ask(gateway, "", **plain("claude-crew-team"))).json()
    assert len(handed) == 2
    assert pairs_fault(answer["content"]) is None
    assert sum(block["type"] == "mcp_tool_use" for block in answer["content"]) == 2
