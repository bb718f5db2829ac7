"""GET /api/mcp/servers/… and /api/mcp/status: what is there, and who sees it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Membership, Organization
from accounts.principal import CALLBACK, MESSAGES
from accounts.tests.people import Person, Role, alice, bob, charlie, uses_written
from mcp.models import Connector
from mcp.states import State
from mcp.tests.machines import call, machine, server
from mcp.tests.pages import operator, with_key

__all__ = ["alice", "bob", "charlie", "uses_written"]

MINE = "/api/mcp/servers/me"
STATUS = "/api/mcp/status"

by_key = pytest.mark.django_db(transaction=True)  # keys are read on threads of their own


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["name"] for each in answer.json()["servers"]]


@by_key
def test_it_lists_a_users_servers_with_what_stands_behind_them(alice: Person) -> None:
    connector = machine(alice, agent="ops-connector/1", platform="linux")
    row = server(connector, "files", "read", "write", title="Files", version="2")
    answer = with_key(alice, [CALLBACK]).get(MINE).json()
    (shown,) = answer["servers"]
    assert (answer["count"], answer["has_more"]) == (1, False)
    row.refresh_from_db()
    times = {name: shown.pop(name) for name in ("registered_at", "updated_at")}
    assert all(times.values())
    assert shown.pop("connector") == {
        "id": str(connector.pk),
        "name": "laptop",
        "agent": "ops-connector/1",
        "platform": "linux",
        "transport": "websocket",
        "online": True,
        "last_seen_at": f"{connector.last_seen_at:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    assert shown == {
        "server_id": "files",
        "name": "files",
        "title": "Files",
        "version": "2",
        "era": "2025-11-25",
        "url": "",
        "method": "websocket",
        "status": "active",
        "error": "",
        "tools": ["read", "write"],
    }


def test_it_defines_tools_when_asked_to(alice: Person) -> None:
    server(machine(alice), "files", "read")
    shown = alice.signed_in().get(MINE, {"tools": "full"}).json()["servers"][0]
    assert shown["tools"] == [
        {
            "name": "read",
            "title": "",
            "description": "What read does.",
            "inputSchema": {"type": "object"},
            "outputSchema": None,
            "annotations": {},
        }
    ]


def test_it_defines_the_tools_of_a_few_servers_at_once(alice: Person) -> None:
    connector = machine(alice)
    for number in range(17):
        server(connector, f"s{number}")
    client = alice.signed_in()
    refused = client.get(MINE, {"tools": "full"})
    assert (refused.status_code, list(refused.json())) == (400, ["tools"])
    assert names(client.get(MINE, {"tools": "full", "server": "s3"})) == ["s3"]


@pytest.mark.parametrize(
    ("fields", "state", "status"),
    [
        ({}, "ready", "active"),
        ({}, "failed", "failed"),
        ({"closed_at": timezone.now()}, "ready", "offline"),
        ({"last_seen_at": timezone.now() - timedelta(minutes=5)}, "ready", "offline"),
        ({"last_seen_at": None}, "ready", "offline"),
        ({"last_seen_at": None, "kind": "gateway"}, "ready", "active"),
    ],
)
def test_it_says_whether_calls_reach_it(
    alice: Person, fields: dict[str, Any], state: str, status: str
) -> None:
    server(machine(alice, **fields), state=state)
    (shown,) = alice.signed_in().get(MINE).json()["servers"]
    assert shown["status"] == status
    assert shown["method"] == ("http" if "kind" in fields else "websocket")


@by_key
def test_it_shows_servers_to_their_owner_and_to_operators_only(
    alice: Person, bob: Person, charlie: Person
) -> None:
    server(machine(alice), "alices")
    path = f"/api/mcp/servers/{alice.user.pk}"
    assert names(with_key(alice).get(path)) == ["alices"]
    assert names(operator().signed_in().get(path)) == ["alices"]
    for other in (bob, charlie):
        for client in (other.signed_in(), with_key(other)):
            unknown = client.get(f"/api/mcp/servers/{2**40}")
            assert client.get(path).status_code == unknown.status_code == 404
            assert client.get(path).json() == unknown.json()
            assert names(client.get(MINE)) == []


@by_key
def test_it_takes_no_key_of_an_operator_for_an_operator(alice: Person) -> None:
    server(machine(alice), "alices")
    call(machine(alice, "other"))
    client = with_key(operator())
    assert client.get(f"/api/mcp/servers/{alice.user.pk}").status_code == 404
    assert client.get(STATUS).json()["connectors"] == 0


@by_key
def test_a_key_sees_only_its_own_organization(alice: Person) -> None:
    second = Organization.objects.create(name="Second")
    Membership.objects.create(organization=second, user=alice.user, role=Role.OWNER)
    there = Person(user=alice.user, organization=second)
    server(machine(alice), "here")
    server(machine(there), "there")
    assert names(with_key(alice).get(MINE)) == ["here"]
    assert names(with_key(there).get(MINE)) == ["there"]
    assert sorted(names(alice.signed_in().get(MINE))) == ["here", "there"]


@pytest.mark.parametrize("who", ["0", "-1", "alice", "9" * 18, "9" * 40, "%00", "%ED%A0%80", "²"])
def test_it_finds_no_such_user(alice: Person, who: str) -> None:
    assert alice.signed_in().get(f"/api/mcp/servers/{who}").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"tools": "all"}, "tools"),
        ({"server": "a\x00"}, "server"),
        ({"server": "x" * 65}, "server"),
        ({"tool": "full"}, "tool"),
    ],
)
def test_it_names_the_wrong_parameter(alice: Person, query: dict[str, str], field: str) -> None:
    answer = alice.signed_in().get(MINE, query)
    assert (answer.status_code, list(answer.json())) == (400, [field])


@by_key
@pytest.mark.parametrize("path", [MINE, STATUS, "/api/mcp/calls"])
def test_it_asks_for_the_scope(alice: Person, path: str) -> None:
    refused = with_key(alice, [MESSAGES]).get(path)
    assert refused.status_code == 403
    assert "mcp-callback" in refused.json()["detail"]


@by_key
def test_it_counts_what_the_caller_may_see(alice: Person, bob: Person, charlie: Person) -> None:
    here = machine(alice)
    machine(bob, transport=Connector.Transport.POLLING)
    machine(bob, "gone", closed_at=timezone.now())
    machine(alice, "gateway", kind="gateway")
    server(here)
    server(machine(charlie), "charlies")
    states = [State.QUEUED, State.QUEUED, State.LEASED, State.RUNNING, State.ORPHANED]
    for state in [*states, State.SUCCEEDED]:
        call(here, state)
    expected = {
        "websocket_connections": 1,
        "polling_queues": 1,
        "pending_calls": 3,
        "pending_results": 2,
        "registered_servers": 1,
        "connectors": 3,
        "calls": {"queued": 2, "approval": 0, "leased": 1, "running": 1, "orphaned": 1},
    }
    assert with_key(bob).get(STATUS).json() == expected
    assert alice.signed_in().get(STATUS + "/").json() == expected
    everybody = operator().signed_in().get(STATUS).json()
    assert (everybody["registered_servers"], everybody["websocket_connections"]) == (2, 2)


def test_it_asks_as_often_for_many_servers_as_for_few(
    alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    connector = machine(alice)
    client = alice.signed_in()
    for start in (0, 10):
        for number in range(start, start + 10):
            server(connector, f"s{number}", "read", "write")
        with django_assert_num_queries(4):  # session, user, servers, their tools
            assert len(names(client.get(MINE))) == start + 10
    with django_assert_num_queries(5):  # session, user, machines, calls, servers
        assert client.get(STATUS).status_code == 200
