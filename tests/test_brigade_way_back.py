"""A Brigade at work runs tools on the user's machine, by a token that lasts as long as its task."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from accounts.principal import MESSAGES as MESSAGES_SCOPE
from accounts.tests.people import Person
from mcp import policies
from mcp.models import OrganizationPolicy, PolicyRule, Task, ToolCall
from mcp.threads import off_loop
from proxy.models import Route
from tests import brigade as brigades
from tests import tunnel
from tests.answers import Answer, End, Gate, Later, error
from tests.brigade import DONE, Brigade, detail, lines
from tests.conftest import lead_to
from tests.connector import ready
from tests.gateway import Gateway
from tests.machine_work import BODY, ask, events_of, laptop
from tests.tunnel import until
from tests.turns import text_turn, tool_turn
from tests.upstream import Request, Upstream

brigade, tidy = brigades.brigade, tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
USE = {"server": "files", "tool": "read", "arguments": {"path": "a"}}


@pytest.fixture
def led(gateway: Gateway, brigade: Brigade) -> Gateway:
    """The gateway with a Brigade that is asked first, and another upstream after it."""
    row = Route.objects.get()
    row.position = 500
    row.save()
    lead_to(brigade.url, name="unicorn", kind="brigade", position=1, dialect="tasks")
    return gateway


async def execute(request: Request, **more: Any) -> httpx.Response:
    """Run a tool by what came with a task."""
    back = request.json["callback"]
    headers = {"authorization": f"Bearer {back['token']}"} | more.pop("headers", {})
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        return await client.post(back["callback_url"], json=USE | more, headers=headers)


def working(*between: Gate | End, heard: list[Any], **more: Any) -> Callable[[Request], Answer]:
    """A task that says something, runs a tool, and says what it has heard."""

    def rendered(request: Request) -> Answer:
        async def say() -> bytes:
            answer = await execute(request, **more)
            heard.append(answer)
            told = answer.json().get("result", {}).get("content", [{"text": answer.text}])
            text = str(told[0]["text"]).replace('"', "'")
            return b'data: {"type":"content_block_delta","text":"%b"}\n\n' % text.encode()

        first = {"type": "content_block_delta", "text": "Let me see: "}
        return lines(first, Later(say), *between, {"type": "message_stop"}, DONE)

    return rendered


def text_in(events: list[dict[str, Any]]) -> str:
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


async def test_it_runs_a_tool_in_the_middle_of_a_task(led: Gateway, brigade: Brigade) -> None:
    heard: list[httpx.Response] = []
    brigade.say(working(heard=heard))
    async with laptop(led) as handed:
        events = await events_of(led)
        late = await execute(brigade.asked[0])
    assert text_in(events) == "Let me see: bread and rolls"
    assert [bytes(call.params) for call in handed] == [b'{"name":"read","arguments":{"path":"a"}}']
    call = await off_loop(ToolCall.objects.get)()
    assert call.step is not None
    assert call.request_id == f"req_{call.step.hex}"  # its first and only step
    (task,) = [request.json for request in brigade.asked]
    assert task["callback"]["callback_url"] == f"{led.url}/api/mcp/execute"
    (server,) = task["mcp_servers"]
    assert (server["name"], server["tools"]) == ("files", ["files_read", "files_write"])
    assert {(t["name"], t["server"]) for t in task["tools"]} == {
        ("files_read", "files"),
        ("files_write", "files"),
    }
    (call,) = await tunnel.rows()
    assert call.request_id == task["metadata"]["anthropic_request_id"]
    assert (heard[0].status_code, heard[0].json()["state"]) == (200, "succeeded")
    assert (late.status_code, late.json()["detail"]) == (
        401,
        "This task has ended, and its token with it",
    )


async def test_its_token_opens_nothing_but_its_own_tools(led: Gateway, brigade: Brigade) -> None:
    gate = Gate()
    heard: list[httpx.Response] = []
    brigade.say(working(gate, heard=heard))
    async with laptop(led):
        asking = asyncio.create_task(events_of(led))
        await asyncio.to_thread(gate.reached.wait, 15)
        (request,) = brigade.asked
        said = {
            "other tool": await execute(request, tool="edit"),
            "other server": await execute(request, server="mail"),
            "ids": await execute(request, request_id="r", tool_use_id="t"),
            "no wait": await execute(request, wait=False),
            "forged": await execute(request, headers={"authorization": forged(request)}),
            "by the model's name": await execute(request, tool="files_read"),
        }
        elsewhere = await everywhere_else(led, request.json["callback"]["token"])
        gate.open()
        await asking
    assert {name: answer.status_code for name, answer in said.items()} == {
        "other tool": 403,
        "other server": 403,
        "ids": 400,
        "no wait": 400,
        "forged": 401,
        "by the model's name": 200,
    }
    assert "may not run 'edit' of 'files'" in said["other tool"].text
    assert set(elsewhere.values()) == {401}, elsewhere


def forged(request: Request) -> str:
    token = request.json["callback"]["token"]
    return f"Bearer {token[:-1]}{'0' if token[-1] != '0' else '1'}"


async def everywhere_else(gateway: Gateway, token: str) -> dict[str, int]:
    bearer, key = {"authorization": f"Bearer {token}"}, {"x-api-key": token}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
        asked = {
            "messages": client.post("/v1/messages", json=BODY, headers=bearer),
            "models": client.get("/v1/models", headers=key),
            "poll": client.post("/api/mcp/poll", json={}, headers=bearer),
            "submit": client.post("/api/mcp/submit", json={}, headers=bearer),
            "calls": client.get("/api/mcp/calls", headers=bearer),
            "servers": client.get("/api/mcp/servers/me", headers=bearer),
            "as a key": client.post("/api/mcp/execute", json=USE, headers=key),
        }
        return {name: (await answer).status_code for name, answer in asked.items()}


async def test_the_organizations_policy_still_decides(
    led: Gateway, brigade: Brigade, alice: Person
) -> None:
    await denied(alice)
    heard: list[httpx.Response] = []
    brigade.say(working(heard=heard))
    async with laptop(led) as handed:
        await events_of(led)
    assert heard[0].status_code == 403
    assert "Not allowed by" in heard[0].text
    assert handed == []


@off_loop
def denied(person: Person) -> None:
    policy = OrganizationPolicy.objects.create(organization=person.organization)
    PolicyRule.objects.create(policy=policy, server="files", tool="read", decision="deny")
    policies.save(policy, user_id=None, actor="system")


async def test_a_client_that_leaves_stops_the_task_and_its_tool(
    led: Gateway, brigade: Brigade
) -> None:
    heard: list[httpx.Response] = []
    brigade.say(working(heard=heard))
    async with ready(led.url, led.key) as machine:
        asking = asyncio.create_task(events_of(led))
        await machine.begin()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(all_ended)
        await until(stopped)


@off_loop
def all_ended() -> bool:
    return Task.objects.exists() and not Task.objects.filter(ended_at=None).exists()


@off_loop
def stopped() -> bool:
    return ToolCall.objects.filter(cancel_requested=True).exists()


async def test_a_task_that_has_failed_runs_nothing_while_another_upstream_answers(
    led: Gateway, brigade: Brigade, upstream: Upstream
) -> None:
    gate = Gate()
    brigade.say(detail(503, "Too many tasks"))
    upstream.answer_by(lambda _: Answer(steps=(gate, End.CUT)))
    async with laptop(led):
        asking = asyncio.create_task(ask(led, stream=True))
        await asyncio.to_thread(gate.reached.wait, 15)
        late = await execute(brigade.asked[0])
        gate.open()
        await asking
    assert (late.status_code, "has ended" in late.text) == (401, True)


async def test_a_tool_of_a_task_that_has_failed_does_not_run_again_for_a_retry(
    led: Gateway, brigade: Brigade, upstream: Upstream
) -> None:
    def says(request: Request) -> Answer:
        async def say() -> bytes:
            await execute(request)
            return b""

        return Answer(steps=(Later(say), End.CUT))

    brigade.say(says)
    upstream.script(error(400, "invalid_request_error", "No."), text_turn("Too late."))
    async with laptop(led) as handed:
        failed, again = await ask(led), await ask(led)
    assert (failed.status_code, failed.headers["x-should-retry"]) == (400, "false")
    assert (again.status_code, again.headers["x-should-retry"]) == (503, "false")
    assert "already begun" in again.json()["error"]["message"]
    assert len(handed) == len(brigade.asked) == 1


async def test_a_task_that_has_failed_without_any_tool_is_begun_anew(
    led: Gateway, brigade: Brigade, upstream: Upstream
) -> None:
    brigade.say(detail(503, "Too many tasks"))
    upstream.script(error(400, "invalid_request_error", "No."), text_turn("Now."))
    async with laptop(led):
        failed = await ask(led)
        brigade.say(detail(503, "Too many tasks"))
        again = await ask(led)
    assert (failed.status_code, again.status_code) == (400, 200)


@pytest.mark.parametrize(
    ("spoil", "status", "text"),
    [
        (lambda: Task.objects.update(expires_at=timezone.now() - timedelta(1)), 401, "has expired"),
        (lambda: keys.revoke(ApiKey.objects.get()), 401, "was revoked"),
        (lambda: ApiKey.objects.update(scopes=[MESSAGES_SCOPE]), 403, "lacks the scope"),
    ],
)
async def test_what_no_longer_holds_is_named(
    led: Gateway, brigade: Brigade, spoil: Callable[[], object], status: int, text: str
) -> None:
    gate = Gate()
    heard: list[httpx.Response] = []
    brigade.say(working(gate, heard=heard))
    async with laptop(led):
        asking = asyncio.create_task(events_of(led))
        await asyncio.to_thread(gate.reached.wait, 15)
        await off_loop(spoil)()
        late = await execute(brigade.asked[0])
        gate.open()
        await asking
    assert (late.status_code, text in late.text) == (status, True), late.text


async def test_what_a_brigade_only_calls_the_gateway_runs(led: Gateway, brigade: Brigade) -> None:
    brigade.say(tool_turn(("files_read", {"path": "a"})), text_turn("Bread."))
    async with laptop(led) as handed:
        events = await events_of(led)
    assert (len(handed), text_in(events)) == (1, "Bread.")


async def test_a_key_that_may_run_no_tools_hands_none_away(led: Gateway, brigade: Brigade) -> None:
    async with laptop(led):
        await off_loop(lambda: ApiKey.objects.update(scopes=[MESSAGES_SCOPE]))()
        answer = await ask(led)
    assert (answer.status_code, "lacks the scope mcp-callback" in answer.text) == (403, True)
    assert brigade.asked == []
