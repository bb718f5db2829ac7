"""A client that tries again: it joins its answer or hears it again, and no tool runs twice."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts.principal import SCOPES
from accounts.tests.people import Person
from mcp import frames
from mcp.states import State
from proxy.models import Agent
from tests import answers, tunnel
from tests.answers import error
from tests.asking import rows
from tests.connector import about, ready
from tests.gateway import Gateway
from tests.joiners import FALLBACK, content_of, hearing, retried
from tests.machine_work import laptop
from tests.turns import text_turn, tool_turn
from tests.upstream import MESSAGES, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

READ = ("files_read", {"path": "a"})


async def test_a_retry_joins_the_answer_that_is_being_given(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with ready(gateway.url, gateway.key) as machine:
        async with hearing(gateway) as first:
            call = await machine.begin()
            async with hearing(gateway) as second:
                await second.begun()
                whole = asyncio.create_task(retried(gateway, **FALLBACK))
                await machine.finish(call, "bread")
                assert await second.rest() == await first.rest()
        message = (await whole).json()
    assert message["content"] == content_of(first)
    assert len(upstream.sent_to(MESSAGES)) == 2
    found = await sync_to_async(rows)(2)
    ids = {first.request_id, second.request_id, (await whole).headers["request-id"]}
    assert ids == {f"req_{found[0].id.hex}"}
    assert len(await tunnel.rows()) == 1


async def test_a_stream_joins_an_answer_that_was_to_come_whole(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with ready(gateway.url, gateway.key) as machine:
        whole = asyncio.create_task(retried(gateway))
        call = await machine.begin()
        async with hearing(gateway) as second:
            await second.begun()
            await machine.finish(call, "bread")
            await second.rest()
        assert (await whole).json()["content"] == content_of(second)
    assert len(upstream.sent_to(MESSAGES)) == 2


async def test_it_hears_again_what_has_ended(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with laptop(gateway) as handed:
        async with hearing(gateway) as first, hearing(gateway) as second:
            told = await first.rest()
            assert await second.rest() == told
        async with hearing(gateway, max_tokens=7) as third:
            assert await third.rest() == told
        message = (await retried(gateway, **FALLBACK)).json()
    assert message["content"] == content_of(first)
    assert (len(handed), len(upstream.sent_to(MESSAGES))) == (1, 2)
    await sync_to_async(rows)(2)


@pytest.mark.parametrize(
    ("session", "more"),
    [
        ("another", {}),
        ("", {}),
        ("one", {"messages": [{"role": "user", "content": "What is in b?"}]}),
        ("one", {"system": "Be short."}),
        ("one", {"metadata": {"user_id": "again"}}),
    ],
)
async def test_another_question_is_answered_anew(
    gateway: Gateway, upstream: Upstream, session: str, more: dict[str, Any]
) -> None:
    for _ in range(2):
        upstream.script(tool_turn(READ), text_turn("Bread."))
    async with laptop(gateway) as handed:
        await retried(gateway, "one")
        await retried(gateway, session, **more)
    assert (len(handed), len(upstream.sent_to(MESSAGES))) == (2, 4)


async def test_another_key_and_another_tenant_are_answered_anew(
    gateway: Gateway, upstream: Upstream, alice: Person, charlies_key: str
) -> None:
    await Agent.objects.acreate(slug="mate", name="Mate", model="claude-opus-5-5")
    _, other = await sync_to_async(alice.key)("desk", list(SCOPES))
    plain = {"model": "claude-agent-mate", "mcp_servers": None, "tools": None}
    said = []
    for number, key in enumerate([gateway.key, other, charlies_key, gateway.key]):
        upstream.script(text_turn(f"{number}"))
        answer = await retried(gateway, "one", key=key, **plain)
        said.append(answer.json()["content"][-1]["text"])
    assert said == ["0", "1", "2", "0"]


async def test_what_nobody_comes_back_for_is_stopped_and_not_done_again(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(READ))
    async with ready(gateway.url, gateway.key) as machine:
        async with hearing(gateway):
            call = await machine.begin()
        stop = await machine.hear_a(frames.Cancel)
        assert stop.id == call.id
        await machine.say(about("result", call, outcome="cancelled"))
        await machine.hear_a(frames.Ack)
        answer = await retried(gateway)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")
    assert "are not run again" in answer.json()["error"]["message"]
    (row,) = await tunnel.rows()
    assert (row.state, len(upstream.sent_to(MESSAGES))) == (State.CANCELLED, 1)


async def test_what_has_done_nothing_is_stopped_and_begun_anew(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(answers.stream([*text_turn().events()[:4], answers.End.HANG]), text_turn("Hi."))
    async with laptop(gateway):
        async with hearing(gateway) as first:
            await first.begun()
        assert await asyncio.to_thread(upstream.requests[0].left)
        assert (await retried(gateway)).json()["content"][-1]["text"] == "Hi."
    found = await sync_to_async(rows)(2)
    assert [row.state for row in found] == ["interrupted", "completed"]


async def test_a_refusal_is_not_heard_again(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(error(400, "invalid_request_error", "No."), text_turn("Yes."))
    async with laptop(gateway):
        assert (await retried(gateway)).status_code == 400
        assert (await retried(gateway)).json()["content"][-1]["text"] == "Yes."


async def test_what_fails_before_it_did_anything_is_asked_for_anew(
    gateway: Gateway, upstream: Upstream
) -> None:
    cut = answers.stream([*text_turn().events()[:4], answers.End.CUT])
    upstream.script(cut, text_turn("Yes."))
    async with laptop(gateway), hearing(gateway) as first:
        await first.rest()
        assert first.events[-1]["type"] == "error"
        assert (await retried(gateway)).json()["content"][-1]["text"] == "Yes."


async def test_what_fails_after_a_tool_is_heard_again_and_no_more_tried(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(READ), error(400, "invalid_request_error", "No."))
    async with laptop(gateway) as handed, hearing(gateway) as first:
        told = await first.rest()
        async with hearing(gateway) as second:
            assert await second.rest() == told
        whole = await retried(gateway, **FALLBACK)
    assert (whole.status_code, whole.headers["x-should-retry"]) == (400, "false")
    assert (len(handed), len(upstream.sent_to(MESSAGES))) == (1, 2)
