"""Machines, servers and tool calls in the admin: to read, and to stop a call."""

import json
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from accounts.tests.people import Person, Role, alice, charlie, join, uses_written
from billing.tests.admin import ESCAPED, HTML, lines, operator, staff, told
from mcp import offers
from mcp.models import Connector, McpServer, McpTool, ToolCall, ToolCallEvent
from mcp.states import State
from mcp.tests.machines import call, machine, server
from tests.tunnel import principal_of

__all__ = ["alice", "charlie", "operator", "uses_written"]

MACHINES = "/admin/mcp/connector/"
SERVERS = "/admin/mcp/mcpserver/"
CALLS = "/admin/mcp/toolcall/"


def rows(page: Any) -> list[Any]:
    assert page.status_code == 200
    return list(page.context["cl"].result_list)


def text(client: Client, page: str, pk: Any) -> str:
    answer = client.get(f"{page}{pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_says_which_machines_are_there(operator: Client, alice: Person) -> None:
    here = machine(alice, "here")
    closed = machine(alice, "closed", closed_at=timezone.now())
    silent = machine(alice, "silent", last_seen_at=timezone.now() - timedelta(minutes=2))
    never = machine(alice, "never", last_seen_at=None)
    own = machine(alice, "own", last_seen_at=None, kind=Connector.Kind.GATEWAY)
    assert {*rows(operator.get(MACHINES, {"online": "yes"}))} == {here, own}
    assert {*rows(operator.get(MACHINES, {"online": "no"}))} == {closed, silent, never}
    assert len(rows(operator.get(MACHINES))) == 5


def test_it_says_nothing_of_a_transport_that_is_not_there(operator: Client, alice: Person) -> None:
    machine(alice, "here")
    left = machine(alice, "left", transport=Connector.Transport.NONE)
    listed = re.findall(r">\s*([^<>]+?)\s*</td>", operator.get(MACHINES).content.decode())
    assert "Websocket" in listed
    assert "None" not in listed
    assert not re.search(r">\s*None\s*<", text(operator, MACHINES, left.pk))


def test_it_shows_a_machine_with_its_servers_and_open_calls(
    operator: Client, alice: Person
) -> None:
    connector = machine(alice)
    row = server(connector, "files")
    call(connector, State.RUNNING)
    call(connector, State.SUCCEEDED)
    shown = text(operator, MACHINES, connector.pk)
    assert f"{SERVERS}{row.pk}/change/" in shown
    assert str(connector.instance) in shown


@pytest.mark.parametrize("spelled", ["lap", "alice", "{0.pk}", " {0.instance} "])
def test_it_finds_a_machine(operator: Client, alice: Person, charlie: Person, spelled: str) -> None:
    wanted = machine(alice, "laptop")
    machine(charlie, "desk")
    assert rows(operator.get(MACHINES, {"q": spelled.format(wanted)})) == [wanted]


def test_it_shows_a_server_with_its_tools(operator: Client, alice: Person) -> None:
    row = server(machine(alice), "files", "read", "write")
    shown = text(operator, SERVERS, row.pk)
    assert "<summary>read</summary>" in shown
    assert "What write does." in shown
    assert rows(operator.get(SERVERS, {"q": "files"})) == [row]
    assert rows(operator.get(SERVERS, {"q": str(row.pk)})) == [row]
    assert rows(operator.get(SERVERS, {"q": "nonsense"})) == []


def test_it_shows_what_a_call_asked_and_what_came_of_it(operator: Client, alice: Person) -> None:
    row = call(machine(alice), State.SUCCEEDED)
    shown = text(operator, CALLS, row.pk)
    assert "/secret" in shown
    assert "hello" in shown
    assert "/secret" not in operator.get(CALLS).content.decode()


@pytest.mark.parametrize(
    "result",
    [
        '{"half":"\\ud800"}',
        "[" * 100_000,
        "{broken",
        json.dumps({"text": "x" * 900_000}),
        '{"big":' + "9" * 5_000 + "}",
        '{"x":"<script>alert(1)</script>"}',
    ],
)
def test_it_shows_any_result_within_bounds(operator: Client, alice: Person, result: str) -> None:
    row = call(machine(alice), State.SUCCEEDED, result=result)
    shown = text(operator, CALLS, row.pk)
    assert len(shown) < 200_000
    assert HTML not in shown


def test_it_tells_a_calls_life_step_by_step(operator: Client, alice: Person) -> None:
    row = call(machine(alice), State.RUNNING)
    ToolCallEvent.objects.filter(call=row).delete()
    for seconds, state, fence in ((0, "queued", 0), (1, "leased", 1), (17, "queued", 1)):
        at = row.created_at + timedelta(seconds=seconds)
        ToolCallEvent.objects.create(call=row, at=at, state=state, fence=fence)
    shown = text(operator, CALLS, row.pk)
    assert "+0 ms queued" in shown
    assert "+1.0 s leased, hand-out 1" in shown
    assert "+17.0 s back in the queue after hand-out 1" in shown


@pytest.mark.parametrize("spelled", ["{0.pk}", "{0.request_id}", "{0.connector_id}"])
def test_it_finds_a_call(operator: Client, alice: Person, charlie: Person, spelled: str) -> None:
    wanted = call(machine(alice), request_id="req_1")
    call(machine(charlie))
    assert rows(operator.get(CALLS, {"q": spelled.format(wanted)})) == [wanted]
    assert rows(operator.get(CALLS, {"q": "nonsense"})) == []


@pytest.mark.django_db(transaction=True)  # calls are stopped on threads of their own
def test_it_asks_the_chosen_calls_to_stop(alice: Person) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    connector = machine(alice)
    rows_of = {state: call(connector, state) for state in State}
    shown = text(client, CALLS, rows_of[State.RUNNING].pk)
    assert f'formaction="{CALLS}"' in shown
    assert "formaction" not in text(client, CALLS, rows_of[State.SUCCEEDED].pk)
    chosen = {"action": "cancel", "_selected_action": [str(row.pk) for row in rows_of.values()]}
    answer = client.post(CALLS, chosen, follow=True)
    assert told(answer) == ["5 asked to stop."]
    assert [action for action, _ in lines()] == ["toolcall.cancelled"] * 5
    asked = ToolCall.objects.filter(cancel_requested=True).values_list("state", flat=True)
    assert sorted(asked) == ["cancelled", "cancelled", "leased", "orphaned", "running"]
    assert told(
        client.post(
            CALLS, chosen | {"_selected_action": [str(rows_of[State.LOST].pk)]}, follow=True
        )
    ) == ["None of them is open."]


@pytest.mark.django_db(transaction=True)  # calls are stopped on threads of their own
def test_it_stops_nothing_for_those_who_may_only_look(alice: Person) -> None:
    row = call(machine(alice), State.RUNNING)
    client = staff("view_toolcall")
    assert "formaction" not in text(client, CALLS, row.pk)
    client.post(CALLS, {"action": "cancel", "_selected_action": [str(row.pk)]})
    row.refresh_from_db()
    assert not row.cancel_requested


def test_it_lets_nobody_change_a_row(operator: Client, alice: Person) -> None:
    connector = machine(alice)
    pages = {
        MACHINES: connector.pk,
        SERVERS: server(connector).pk,
        CALLS: call(connector, State.SUCCEEDED).pk,
    }
    for page, pk in pages.items():
        assert operator.get(f"{page}add/").status_code == 403
        assert operator.post(f"{page}{pk}/change/", {"name": "x"}).status_code == 403
        assert operator.post(f"{page}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert operator.get(f"{page}{uuid4()}/change/").status_code == 302


def test_it_is_closed_to_those_who_are_no_operators(alice: Person) -> None:
    connector = machine(alice)
    row = call(connector)
    alice.user.is_staff = False
    client = alice.signed_in()
    for page, pk in ((MACHINES, connector.pk), (CALLS, row.pk)):
        assert client.get(page).status_code == 302
        assert client.get(f"{page}{pk}/change/").status_code == 302
    assert staff("view_usagerecord").get(CALLS).status_code == 403


def test_it_shows_the_pages_in_the_sidebar(operator: Client) -> None:
    groups = operator.get(MACHINES).context["sidebar_navigation"]
    items = {item["title"]: item["link"] for group in groups for item in group["items"]}
    assert (items["Connectors"], items["MCP servers"], items["Tool calls"]) == (
        MACHINES,
        SERVERS,
        CALLS,
    )


def test_it_shows_what_others_wrote_as_text(operator: Client, alice: Person) -> None:
    connector = machine(alice, HTML, agent=HTML, platform=HTML)
    row = server(connector, title=HTML, error=HTML, state="failed")
    McpTool.objects.create(
        server=row, position=0, name=HTML, description=HTML, input_schema={"x": HTML}, digest="d"
    )
    asked = call(connector, State.RUNNING, tool=HTML, progress={"message": HTML})
    for page, pk in ((MACHINES, connector.pk), (SERVERS, row.pk), (CALLS, asked.pk)):
        shown = [operator.get(page).content.decode(), text(operator, page, pk)]
        for each in shown:
            assert HTML not in each
            assert ESCAPED in each


def test_it_asks_as_often_for_many_rows_as_for_few(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(CALLS)
    for number in range(2):
        for count in range(10):
            person = join(f"p{number}-{count}", Organization.objects.create(name="o"), Role.OWNER)
            connector = machine(person)
            server(connector, "files", "read")
            call(connector, State.SUCCEEDED)
        with django_assert_num_queries(4):  # session, user, rows, alarms
            assert rows(operator.get(CALLS))
        for page in (MACHINES, SERVERS):
            with django_assert_num_queries(5):  # the same, and a count
                assert rows(operator.get(page))


def test_it_loads_no_params_and_results_for_a_list(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    call(machine(alice), State.SUCCEEDED)
    (row,) = rows(operator.get(CALLS))
    assert {"params", "result"} <= row.get_deferred_fields()
    assert ToolCall.objects.count() == McpServer.objects.count() + 1
    assert lines() == []
    assert told(operator.get(CALLS)) == []


def test_a_drained_machine_is_given_no_more(operator: Client, alice: Person) -> None:
    laptop = machine(alice)
    server(laptop, "files", "read")
    whose = principal_of(alice)
    assert [one.tool for one in offers.offered(whose)] == ["read"]
    chosen = {"_selected_action": [laptop.pk]}
    operator.post(MACHINES, {"action": "drain", **chosen})
    assert "drained" in text(operator, MACHINES, laptop.pk)
    assert offers.offered(whose) == []
    with pytest.raises(offers.RefusedError, match="is drained") as refused:
        offers.find(whose, "files", "read")
    assert refused.value.code == "drained"
    operator.post(MACHINES, {"action": "drain", **chosen})  # a repeat changes nothing
    operator.post(MACHINES, {"action": "resume", **chosen})
    assert offers.find(whose, "files", "read").connector_id == laptop.pk
    assert lines() == [
        ("connector.drained", {"name": "laptop"}),
        ("connector.resumed", {"name": "laptop"}),
    ]


def test_who_may_only_look_drains_nothing(alice: Person) -> None:
    laptop = machine(alice)
    chosen = {"action": "drain", "_selected_action": [laptop.pk]}
    staff("view_connector").post(MACHINES, chosen)
    laptop.refresh_from_db()
    assert (laptop.drained_at, lines()) == (None, [])
