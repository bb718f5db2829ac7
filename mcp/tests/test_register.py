"""POST /api/mcp/register and its end: what is taken, for whom, and what is said of the rest."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import rates
from accounts.models import AuditEntry
from accounts.principal import MESSAGES
from accounts.rates import Rate
from accounts.tests.people import Person, alice, bob, charlie, uses_written
from mcp import direct
from mcp.models import Connector, McpServer
from mcp.tests.machines import machine, server
from mcp.tests.pages import operator, with_key

__all__ = ["alice", "bob", "charlie", "uses_written"]

URL = "/api/mcp/register"
TOOL = {
    "name": "read",
    "description": "Reads.",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}


def register(client: APIClient, **body: Any) -> Any:
    return client.post(URL, {"server_id": "files"} | body, format="json")


@pytest.mark.parametrize("method", ["websocket", "polling"])
def test_it_declares_a_server_of_the_callers_machine(alice: Person, method: str) -> None:
    connector = machine(alice)
    answer = register(alice.signed_in(), method=method, tools=[TOOL, "write"])
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "success": True,
        "server_id": "files",
        "method": method,
        "connector": str(connector.pk),
        "url": "",
        "era": "",
        "tools": ["read", "write"],
        "refused": [],
    }
    row = McpServer.objects.get(connector=connector, name="files")
    assert (row.state, row.transport) == ("ready", "stdio")
    schemas = list(row.tools.values_list("name", "input_schema"))
    assert schemas == [("read", TOOL["inputSchema"]), ("write", {"type": "object"})]


def test_it_takes_the_body_of_the_earlier_clients(alice: Person) -> None:
    machine(alice)
    body = {"user_id": str(alice.user.pk), "tools": ["deploy", "test", "lint"], "url": ""}
    answer = register(alice.signed_in(), **body).json()
    assert answer["success"] is True
    assert answer["method"] == "websocket"
    assert answer["tools"] == ["deploy", "test", "lint"]


def test_it_chooses_the_machine_that_came_last_unless_one_is_named(alice: Person) -> None:
    first = machine(alice, "first", opened_at=timezone.now() - timedelta(hours=1))
    last = machine(alice, "last")
    machine(alice, "gateway", kind=Connector.Kind.GATEWAY)
    client = alice.signed_in()
    assert register(client).json()["connector"] == str(last.pk)
    named = register(client, instance=str(first.instance)).json()
    assert named["connector"] == str(first.pk)


@pytest.mark.parametrize("instance", [None, str(uuid.UUID(int=7))])
def test_it_says_that_no_machine_is_there(
    alice: Person, bob: Person, charlie: Person, instance: str | None
) -> None:
    machine(bob)
    machine(charlie)
    answer = register(alice.signed_in(), instance=instance)
    assert answer.status_code == 409
    assert "Start a connector" in answer.json()["detail"]


def test_it_takes_what_is_sound_and_says_what_is_not(alice: Person) -> None:
    machine(alice)
    tools = [TOOL, TOOL, {"name": "no schema"}, {"name": "x", "inputSchema": {"type": "string"}}]
    answer = register(alice.signed_in(), tools=tools)
    assert answer.status_code == 200
    assert answer.json()["tools"] == ["read"]
    assert len(answer.json()["refused"]) == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"server_id": ""}, "server_id"),
        ({"server_id": "a b"}, "server_id"),
        ({"server_id": "x" * 65}, "server_id"),
        ({"server_id": "a\x00"}, "server_id"),
        ({"server_id": "a\n"}, "server_id"),
        ({"server_id": 7}, "server_id"),
        ({"server_id": None}, "server_id"),
        ({"method": "grpc"}, "method"),
        ({"method": ["http"]}, "method"),
        ({"method": "http"}, "url"),
        ({"authorization": "secret"}, "authorization"),
        ({"method": "http", "url": "https://x", "authorization": "x" * 4097}, "authorization"),
        ({"method": "http", "url": "x" * 501}, "url"),
        ({"method": "http", "url": "https://a\x00b"}, "url"),
        ({"method": "http", "url": {"a": 1}}, "url"),
        ({"tools": "read"}, "tools"),
        ({"tools": [7]}, "tools"),
        ({"tools": {"read": TOOL}}, "tools"),
        ({"tools": ["x"] * 513}, "tools"),
        ({"instance": "x"}, "instance"),
        ({"organization": str(uuid.uuid4())}, "organization"),
        ({"tool": []}, "tool"),
    ],
)
def test_it_names_the_wrong_field(alice: Person, body: dict[str, Any], field: str) -> None:
    machine(alice)
    answer = register(alice.signed_in(), **body)
    assert (answer.status_code, list(answer.json())) == (400, [field]), answer.content


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"server_id": "a', 400),
        (b'{"server_id": "\\ud800"}', 400),
        (b'{"server_id": "a", "tools": [' + b"[" * 100_000, 400),
        (b'{"server_id": "a", "tools": [{"name": "x", "a": ' + b"[" * 70 + b"]" * 70 + b"}]}", 400),
        (b'{"server_id": "a", "tools": [{"name": "x\\u0000", "inputSchema": {}}]}', 200),
        (b'{"server_id": "a", "tools": [{"name": "x", "inputSchema": {"a": NaN}}]}', 400),
        (b'{"server_id": "a", "tools": [{"name": "x", "inputSchema": {"a": 1e999}}]}', 400),
        (b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
def test_it_refuses_what_is_no_body(alice: Person, raw: bytes, status: int) -> None:
    machine(alice)
    answer = alice.signed_in().post(URL, raw, content_type="application/json")
    assert answer.status_code == status, answer.content
    if status == 200:  # taken but for the tool
        assert (answer.json()["tools"], len(answer.json()["refused"])) == ([], 1)


def test_it_registers_for_nobody_else(alice: Person, bob: Person) -> None:
    machine(alice)
    machine(bob)
    refused = register(bob.signed_in(), user_id=alice.user.pk)
    assert (refused.status_code, list(refused.json())) == (403, ["user_id"])
    assert register(operator().signed_in(), user_id=alice.user.pk).status_code == 403
    for name in (bob.user.pk, str(bob.user.pk), "me", None):
        assert register(bob.signed_in(), user_id=name).status_code == 200
    assert not McpServer.objects.filter(connector__user=alice.user).exists()


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
def test_it_asks_for_the_scope_and_acts_for_the_keys_owner(alice: Person) -> None:
    machine(alice)
    assert register(with_key(alice, [MESSAGES])).status_code == 403
    assert register(APIClient()).status_code == 401
    assert register(with_key(alice)).status_code == 200


def test_it_bounds_how_often(
    alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(alice)
    monkeypatch.setitem(rates.RATES, rates.CONNECTOR_REGISTRATIONS, Rate(limit=2, period_s=60))
    client = alice.signed_in()
    assert [register(client).status_code for _ in range(3)] == [200, 200, 429]
    assert int(register(client)["retry-after"]) > 0


def test_it_reaches_a_server_at_a_url(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `mcp.direct` does with one is tested there, against real servers."""
    gateway = machine(alice, "gateway", kind=Connector.Kind.GATEWAY)
    asked: list[Any] = []

    async def known(principal: Any, name: str, url: str, credential: str) -> McpServer:
        asked.append((principal.user_id, name, url, credential))
        return await McpServer.objects.aget(connector=gateway, name=name)

    server(gateway, "files", "read", url="https://example.com/mcp")
    monkeypatch.setattr(direct, "register", known)
    body = {"method": "http", "url": "https://example.com/mcp", "authorization": "secret"}
    answer = register(alice.signed_in(), **body)
    assert answer.status_code == 200, answer.content
    assert asked == [(alice.user.pk, "files", "https://example.com/mcp", "secret")]
    assert (answer.json()["url"], answer.json()["tools"]) == (body["url"], ["read"])
    line = AuditEntry.objects.get()
    assert line.action == "mcpserver.registered"
    assert "secret" not in str(line.details)


@pytest.mark.parametrize(
    ("field", "shown"), [("name", "server_id"), ("url", "url"), ("credential", "authorization")]
)
def test_it_says_why_a_url_is_not_taken(
    alice: Person, monkeypatch: pytest.MonkeyPatch, field: str, shown: str
) -> None:
    async def refuses(*_: Any) -> McpServer:
        raise direct.NotRegisteredError(field, "No.")

    monkeypatch.setattr(direct, "register", refuses)
    answer = register(alice.signed_in(), method="http", url="https://example.com")
    assert (answer.status_code, answer.json()) == (400, {shown: ["No."]})


def test_it_refuses_the_gateways_own_neighbours(alice: Person) -> None:
    answer = register(alice.signed_in(), method="http", url="http://127.0.0.1:1/mcp")
    assert (answer.status_code, list(answer.json())) == (400, ["url"])
    assert not Connector.objects.exists()


def test_it_takes_a_server_away(alice: Person, bob: Person, charlie: Person) -> None:
    row = server(machine(alice), "files", "read")
    for other in (bob, charlie):
        assert other.signed_in().delete(f"{URL}/files").status_code == 404
    assert operator().signed_in().delete(f"{URL}/files").status_code == 404  # not theirs
    assert alice.signed_in().delete(f"{URL}/files").status_code == 204
    assert not McpServer.objects.filter(pk=row.pk).exists()
    assert AuditEntry.objects.get().action == "mcpserver.removed"
    assert alice.signed_in().delete(f"{URL}/files").status_code == 404


def test_it_asks_which_of_several_is_to_go(alice: Person) -> None:
    first, second = machine(alice, "first"), machine(alice, "second")
    for connector in (first, second):
        server(connector, "files")
    client = alice.signed_in()
    which = client.delete(f"{URL}/files")
    assert which.status_code == 409
    assert all(str(connector.pk) in which.json()["detail"] for connector in (first, second))
    assert client.delete(f"{URL}/files?connector={first.pk}").status_code == 204
    assert client.delete(f"{URL}/files?connector=x").status_code == 400
    assert McpServer.objects.get().connector == second
