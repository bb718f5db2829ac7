"""A person between a call and its beginning, over the wire: tunnel, REST and `execute`."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from accounts.principal import APPROVE, CALLBACK
from accounts.tests.people import Person
from mcp import frames
from mcp.threads import off_loop
from tests import tunnel
from tests.connector import about, ready
from tests.gateway import Gateway

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
DIGEST = "0f" * 32
WITHIN_S = 20


def asking(server: Gateway, key: str) -> httpx.AsyncClient:
    shown = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=server.url, headers=shown, timeout=WITHIN_S)


def execute(client: httpx.AsyncClient) -> "asyncio.Task[httpx.Response]":
    """Somebody asks for a tool, and waits."""
    body = {"server": "files", "tool": "write", "arguments": {"path": "a\u202eb"}, "timeout_s": 5}
    return asyncio.create_task(client.post("/api/mcp/execute", json=body))


@off_loop
def keys(person: Person) -> list[str]:
    """One for the machine and what asks there, one for whoever decides."""
    return [person.key(scopes=[scope])[1] for scope in (CALLBACK, APPROVE)]


async def decided(client: httpx.AsyncClient, approve: bool) -> dict[str, Any]:
    """A program finds the one call that waits, and answers."""
    (shown,) = (await client.get("/api/mcp/approvals")).json()["results"]
    assert (shown["digest"], shown["arguments"]) == (DIGEST, {"path": "a\u202eb"})
    said = {"approve": approve, "digest": shown["digest"]}
    answer = await client.post(f"/api/mcp/approvals/{shown['id']}", json=said)
    assert answer.status_code == 200, answer.text
    again = await client.post(f"/api/mcp/approvals/{shown['id']}", json=said)
    assert (again.status_code, again.json()["code"]) == (409, "used")
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("approve", [True, False])
async def test_it_waits_for_a_person_and_does_what_they_say(
    server: Gateway, alice: Person, approve: bool
) -> None:
    key, approver = await keys(alice)
    async with (
        ready(server.url, key) as laptop,
        asking(server, key) as client,
        asking(server, approver) as person,
    ):
        waiting = execute(client)
        call = await laptop.hear_a(frames.Call)
        await laptop.say(about("ask", call, digest=DIGEST, reason="write asks"))
        asked = await laptop.hear_a(frames.Asked)
        assert (asked.id, asked.fence) == (call.id, call.fence)
        refused = await client.get("/api/mcp/approvals")  # the key that lies on the machine
        assert refused.status_code == 403

        said = await decided(person, approve)
        assert said == {"id": said["id"], "call_id": str(call.id), "state": said["state"]}
        settled = await laptop.hear_a(frames.Settled)
        assert (settled.id, settled.digest, settled.state) == (call.id, DIGEST, said["state"])
        if approve:
            again = await laptop.begin()
            assert again.approval == frames.Approved(digest=DIGEST, source="api")
            assert await laptop.finish(again) == "accepted"
        ended = (await asyncio.wait_for(waiting, WITHIN_S)).json()
        assert ended["state"] == ("succeeded" if approve else "failed")
        assert ("refused" in json.dumps(ended)) is not approve
