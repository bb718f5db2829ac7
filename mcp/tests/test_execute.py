"""POST /api/mcp/execute: what it takes, from whom, and what it says no with."""

import json
import uuid
from typing import Any

import pytest
from django.test import AsyncClient
from rest_framework.test import APIClient

from accounts.models import Membership, Organization
from accounts.tests.people import Person, Role, alice, bob, charlie, uses_written
from mcp import calls
from mcp.models import McpServer, ToolCall
from mcp.offers import SEE
from mcp.tests.machines import machine, server

__all__ = ["alice", "bob", "charlie", "uses_written"]

URL = "/api/mcp/execute"

# The queue is written on threads of its own.
pytestmark = pytest.mark.django_db(transaction=True)


def execute(client: APIClient, **body: Any) -> Any:
    whole = {"server": "files", "tool": "read", "wait": False} | body
    return client.post(URL, whole, format="json")


def with_session(person: Person) -> APIClient:
    server(machine(person), "files", "read")
    return person.signed_in()


def test_it_puts_a_call_of_a_signed_in_person_into_the_queue(alice: Person) -> None:
    answer = execute(with_session(alice), arguments={"path": "/x", "n": [1, None]}, timeout_s=600)
    assert answer.status_code == 202
    row = ToolCall.objects.get()
    assert answer.json() == {"call_id": str(row.pk)}
    assert (row.state, row.user, row.organization) == ("queued", alice.user, alice.organization)
    assert json.loads(row.params) == {"name": "read", "arguments": {"path": "/x", "n": [1, None]}}
    assert 590 < (row.deadline - row.created_at).total_seconds() < 610
    assert row.waiter is None


def test_it_says_how_a_call_ended_that_no_machine_took(alice: Person) -> None:
    """A machine of the past: it is marked as there, and takes nothing."""
    client = with_session(alice)
    call_id = execute(client, request_id="r", tool_use_id="t").json()["call_id"]
    calls.cancel(alice.organization.pk, uuid.UUID(call_id))
    answer = execute(client, request_id="r", tool_use_id="t", wait=True).json()
    assert (answer["state"], answer["is_error"]) == ("cancelled", True)
    assert answer["result"]["isError"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"server": None}, "server"),
        ({"server": "a b"}, "server"),
        ({"server": "a\x00"}, "server"),
        ({"server": "x" * 65}, "server"),
        ({"server": ["files"]}, "server"),
        ({"tool": ""}, "tool"),
        ({"tool": "x" * 129}, "tool"),
        ({"arguments": "x"}, "arguments"),
        ({"arguments": []}, "arguments"),
        ({"arguments": None}, "arguments"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 601}, "timeout_s"),
        ({"timeout_s": 1.5}, "timeout_s"),
        ({"timeout_s": "30"}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"wait": "yes"}, "wait"),
        ({"request_id": "r"}, "tool_use_id"),
        ({"tool_use_id": "t"}, "request_id"),
        ({"request_id": "r r", "tool_use_id": "t"}, "request_id"),
        ({"request_id": "r" * 65, "tool_use_id": "t"}, "request_id"),
        ({"request_id": "r", "tool_use_id": "\x00"}, "tool_use_id"),
        ({"request_id": 7, "tool_use_id": "t"}, "request_id"),
        ({"organization": str(uuid.uuid4())}, "organization"),
        ({"input": {}}, "input"),
    ],
)
def test_it_names_the_wrong_field(alice: Person, body: dict[str, Any], field: str) -> None:
    answer = execute(with_session(alice), **body)
    assert (answer.status_code, list(answer.json())) == (400, [field]), answer.content
    assert not ToolCall.objects.exists()


DEEP = b'{"server":"files","tool":"read","wait":false,"arguments":{"a":%s}}'


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"null", 400),
        (b'"x"', 400),
        (b"{", 400),
        (b"\xff", 400),
        (DEEP % (b"[" * 60 + b"]" * 60), 202),
        (DEEP % (b"[" * 65 + b"]" * 65), 400),
        (DEEP % (b"[" * 50_000 + b"]" * 50_000), 400),
        (DEEP % b'"\\ud800"', 400),
        (DEEP % b'"\\u0000"', 202),
        (DEEP % b"NaN", 400),
        (DEEP % b"1e999", 400),
        (DEEP % (b"9" * 5_000), 400),
        (DEEP % (b"9" * 400), 202),
        (DEEP % (b'"%s"' % (b"x" * 1024 * 1024)), 413),
        (b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
def test_it_refuses_what_is_no_body(alice: Person, raw: bytes, status: int) -> None:
    answer = with_session(alice).post(URL, raw, content_type="application/json")
    assert answer.status_code == status, answer.content
    assert json.loads(answer.content)


@pytest.mark.parametrize(
    ("key", "status"), [("k", 202), ("", 400), ("x" * 65, 400), ("a b", 400), ("é", 400)]
)
def test_it_takes_a_key_of_idempotency(alice: Person, key: str, status: int) -> None:
    body = {"server": "files", "tool": "read", "wait": False}
    client = with_session(alice)
    answers = [
        client.post(URL, body, format="json", headers={"idempotency-key": key}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [status] * 2
    assert answers[0].json() == answers[1].json()
    assert ToolCall.objects.count() == int(status == 202)


def test_it_wants_either_a_key_or_ids(alice: Person) -> None:
    body = {"server": "files", "tool": "read", "request_id": "r", "tool_use_id": "t"}
    answer = with_session(alice).post(URL, body, format="json", headers={"idempotency-key": "k"})
    assert (answer.status_code, list(answer.json())) == (400, ["request_id"])


def test_the_same_ids_of_two_people_are_two_calls(
    alice: Person, bob: Person, charlie: Person
) -> None:
    ids = {"request_id": "r", "tool_use_id": "t"}
    for person in (alice, bob, charlie):
        assert execute(with_session(person), **ids).status_code == 202
    assert ToolCall.objects.count() == 3


@pytest.mark.parametrize(
    ("state", "body", "status", "told"),
    [
        ("ready", {"server": "none"}, 404, {"server": [f"You have no server 'none'; {SEE}"]}),
        ("ready", {"tool": "x"}, 404, {"tool": [f"The server files has no tool 'x'; {SEE}"]}),
        ("failed", {}, 503, {"detail": "The server files has failed.", "code": "not_ready"}),
        ("starting", {}, 503, {"detail": "The server files still starts.", "code": "not_ready"}),
    ],
)
def test_it_says_what_is_not_there(
    alice: Person, state: str, body: dict[str, Any], status: int, told: dict[str, Any]
) -> None:
    client = with_session(alice)
    McpServer.objects.update(state=state)
    answer = execute(client, **body)
    assert (answer.status_code, answer.json()) == (status, told)
    assert ("retry-after" in answer) == (status == 503)


def test_it_runs_in_the_organization_that_is_named(alice: Person) -> None:
    client = with_session(alice)
    second = Organization.objects.create(name="Second")
    Membership.objects.create(organization=second, user=alice.user, role=Role.OWNER)
    assert execute(client, organization=str(second.pk)).status_code == 404  # no machine there
    server(machine(Person(user=alice.user, organization=second)), "files", "read")
    assert execute(client, organization=str(second.pk)).status_code == 202
    assert ToolCall.objects.get().organization == second


def test_it_runs_nothing_on_other_peoples_machines(
    alice: Person, bob: Person, charlie: Person
) -> None:
    with_session(alice)
    for other in (bob, charlie):
        answer = execute(other.signed_in())
        assert (answer.status_code, list(answer.json())) == (404, ["server"])
    assert not ToolCall.objects.exists()


def test_it_lets_nobody_in_without_a_credential(alice: Person) -> None:
    assert execute(APIClient()).status_code == 401


async def test_it_takes_no_session_without_its_token(alice: Person) -> None:
    """A page elsewhere must not run tools with a visitor's cookie."""
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(alice.user)
    answer = await client.post(URL, b"{}", content_type="application/json")
    assert answer.status_code == 403
