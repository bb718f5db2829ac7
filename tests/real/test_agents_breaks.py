"""A machine dies, or a person is asked, in the middle of one Messages request."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.tests.people import Person
from mcp.models import PolicyVersion, ToolCall
from mcp.states import Decision, State
from tests.gateway import Gateway, eventually
from tests.legality import history_fault, pairs_fault
from tests.real import machine, tunnel
from tests.real.conftest import need
from tests.real.machine import Machine, Owner
from tests.real.tunnel import Caller
from tests.tool_loop import results_in
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import MESSAGES, Request, Upstream

pytestmark = pytest.mark.real

WORD = "in-the-middle"
WORK_MS = 3000  # long enough to be killed in
ANSWER_S = 120  # a lease of 15 s, and a connector that starts on a busy machine
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Look."}],
    "mcp_servers": [{"type": "url", "url": "tunnel://laptop/effects", "name": "effects"}],
    "tools": [{"type": "mcp_toolset", "mcp_server_name": "effects"}],
}


@pytest.fixture(params=["websocket", "polling"])
def laptop(gateway: Gateway, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    need(*machine.PEERS)
    owner = Owner(key=gateway.key, user_id=0)
    servers = {"effects": machine.effects_server(tmp_path / "notes")}
    folder = tmp_path / "laptop"
    with (
        Machine(folder, servers, url=gateway.url, owner=owner, transport=request.param) as made,
        closing(Caller(gateway.url, owner)) as caller,
    ):
        made.wait_until_ready()
        tunnel.wait_until_offered(caller, made)
        yield made
    assert "Traceback" not in made.said()


def asked(pool: ThreadPoolExecutor, gateway: Gateway) -> Future[httpx.Response]:
    headers = gateway.headers | {"anthropic-beta": "mcp-client-2025-11-20"}

    def post() -> httpx.Response:
        with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:
            return client.post(gateway.url + MESSAGES, json=BODY, headers=headers)

    return pool.submit(post)


def says(request: Request) -> Turn:
    """Look once, and tell what was seen."""
    if results := results_in(request):
        return text_turn(str(results[0]["content"][0]["text"]))
    return tool_turn(("effects_look", {"word": WORD, "ms": WORK_MS}))


def checked(answer: httpx.Response, upstream: Upstream) -> list[dict[str, Any]]:
    """The blocks of a whole answer; what the upstream was told is legal."""
    assert answer.status_code == 200, answer.text
    content: list[dict[str, Any]] = answer.json()["content"]
    assert pairs_fault(content) is None
    told = [request.json["messages"] for request in upstream.sent_to(MESSAGES)]
    assert [history_fault(messages) for messages in told] == [None, None]
    return content


def test_it_goes_on_when_the_machine_was_killed_in_the_middle(
    gateway: Gateway, upstream: Upstream, laptop: Machine
) -> None:
    upstream.answer_by(says)
    with ThreadPoolExecutor(1) as pool:
        asking = asked(pool, gateway)
        eventually(lambda: ToolCall.objects.filter(state=State.RUNNING).exists(), ANSWER_S)
        laptop.kill()
        laptop.start()
        content = checked(asking.result(ANSWER_S), upstream)
    assert content[-1]["text"] == WORD
    call = ToolCall.objects.get()
    assert (call.state, call.starts) == (State.SUCCEEDED, 2)  # it has no effects, so it began anew


def test_it_waits_for_the_person_who_is_asked_in_the_middle(
    gateway: Gateway, upstream: Upstream, laptop: Machine, alice: Person
) -> None:
    PolicyVersion.objects.create(organization=alice.organization, version=1, otherwise=Decision.ASK)
    upstream.answer_by(says)
    with ThreadPoolExecutor(1) as pool, closing(Approver(gateway)) as person:
        asking = asked(pool, gateway)
        shown = eventually(person.first, ANSWER_S)
        assert (shown["server"], shown["tool"]) == ("effects", "look")
        assert not asking.done()
        person.approve(shown)
        content = checked(asking.result(ANSWER_S), upstream)
    assert content[-1]["text"] == WORD
    assert ToolCall.objects.get().state == State.SUCCEEDED


class Approver:
    """A program that answers what waits for a person."""

    def __init__(self, gateway: Gateway) -> None:
        self._client = httpx.Client(
            base_url=gateway.url, headers=gateway.headers, timeout=ANSWER_S, trust_env=False
        )

    def close(self) -> None:
        self._client.close()

    def first(self) -> dict[str, Any] | None:
        """The oldest question, if there is any."""
        found = self._client.get("/api/mcp/approvals").json()["results"]
        return found[0] if found else None

    def approve(self, shown: dict[str, Any]) -> None:
        said = {"approve": True, "digest": shown["digest"]}
        answer = self._client.post(f"/api/mcp/approvals/{shown['id']}", json=said)
        assert answer.status_code == 200, answer.text
