"""GET /api/mcp/calls…: whose calls are shown to whom, and how they ended."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.tests.people import Person, alice, bob, charlie, uses_written
from mcp import calls
from mcp.models import ToolCall
from mcp.states import State
from mcp.tests.machines import RESULT, call, machine
from mcp.tests.pages import operator, with_key
from mcp.views.tool_calls import NO_CALL

__all__ = ["alice", "bob", "charlie", "uses_written"]

CALLS = "/api/mcp/calls"


def in_words(state: State) -> Any:
    """What is said of an end that no machine spoke of."""
    return json.loads(calls.result_of(state, None) or "")


def test_it_shows_a_call_and_its_result_as_it_came(alice: Person) -> None:
    # Half a surrogate pair, a number no float holds, spaces: none of it is ours to change.
    raw = '{"content": [],\n "isError":false,"x":1e400,"half":"\\ud800"}'
    row = call(machine(alice), State.SUCCEEDED, result=raw)
    answer = alice.signed_in().get(f"{CALLS}/{row.pk}")
    assert answer["content-type"] == "application/json"
    assert raw in answer.content.decode()
    shown = json.loads(answer.content)
    assert shown["call_id"] == str(row.pk)
    assert (shown["state"], shown["outcome"], shown["is_error"]) == ("succeeded", "done", False)
    assert shown["error"] is None
    assert "/secret" not in answer.content.decode()  # arguments stay where they are


@pytest.mark.parametrize(
    ("state", "fields", "is_error", "result", "error"),
    [
        (State.QUEUED, {}, None, None, None),
        (State.RUNNING, {}, None, None, None),
        (State.FAILED, {}, True, RESULT, None),
        (State.FAILED, {"outcome": "error", "result": '{"code":1}'}, True, None, {"code": 1}),
        (State.CANCELLED, {}, True, in_words(State.CANCELLED), None),
        (State.EXPIRED, {}, True, in_words(State.EXPIRED), None),
        (State.LOST, {}, True, in_words(State.LOST), None),
    ],
)
def test_it_says_how_a_call_ended(
    alice: Person, state: State, fields: dict[str, Any], is_error: Any, result: Any, error: Any
) -> None:
    row = call(machine(alice), state, **fields)
    shown = alice.signed_in().get(f"{CALLS}/{row.pk}").json()
    assert shown["state"] == state
    assert (shown["is_error"], shown["result"], shown["error"]) == (is_error, result, error)


def test_it_lists_the_last_calls_page_by_page(alice: Person) -> None:
    connector, now = machine(alice), timezone.now()
    for age in range(5):  # some at the very same moment
        call(connector, State.SUCCEEDED, created_at=now - timedelta(seconds=age // 2))
    client = alice.signed_in()
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    more = True
    while more:
        page = client.get(CALLS, query).json()
        seen += [each["call_id"] for each in page["results"]]
        more, query["before"] = page["has_more"], seen[-1]
    newest = ToolCall.objects.order_by("-created_at", "-id").values_list("id", flat=True)
    assert seen == [str(one) for one in newest]
    assert "result" not in page["results"][0]


def test_it_lists_calls_of_one_state(alice: Person) -> None:
    connector = machine(alice)
    call(connector, State.SUCCEEDED)
    wanted = call(connector, State.RUNNING)
    page = alice.signed_in().get(CALLS, {"state": "running"}).json()
    assert [each["call_id"] for each in page["results"]] == [str(wanted.pk)]


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
def test_it_shows_calls_to_who_made_them_and_to_operators(
    alice: Person, bob: Person, charlie: Person
) -> None:
    row = call(machine(alice), State.SUCCEEDED)
    pages = [f"{CALLS}/{row.pk}", f"{CALLS}/{row.pk}/cancel"]
    assert with_key(alice).get(pages[0]).status_code == 200
    assert operator().signed_in().get(pages[0]).status_code == 200
    for other in (bob, charlie):
        for client in (other.signed_in(), with_key(other)):
            unknown = client.get(f"{CALLS}/{uuid4()}")
            assert client.get(pages[0]).status_code == unknown.status_code == 404
            assert client.get(pages[0]).json() == unknown.json() == {"detail": NO_CALL}
            assert client.post(pages[1]).status_code == 404
            assert client.get(CALLS).json()["results"] == []
            assert client.get(CALLS, {"before": str(row.pk)}).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "\x00"}, "limit"),
        ({"state": "done"}, "state"),
        ({"before": "x"}, "before"),
        ({"after": "x"}, "after"),
    ],
)
def test_it_names_the_wrong_parameter(alice: Person, query: dict[str, str], field: str) -> None:
    answer = alice.signed_in().get(CALLS, query)
    assert (answer.status_code, list(answer.json())) == (400, [field])


@pytest.mark.parametrize("call_id", ["x", "0", "%00", "a" * 36, "9" * 500])
def test_it_finds_no_such_call(alice: Person, call_id: str) -> None:
    assert alice.signed_in().get(f"{CALLS}/{call_id}").status_code == 404
    assert alice.signed_in().post(f"{CALLS}/{call_id}/cancel").status_code == 404


def test_it_asks_as_often_for_many_calls_as_for_few(
    alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    connector = machine(alice)
    client = alice.signed_in()
    for _ in range(2):
        row = [call(connector, State.SUCCEEDED) for _ in range(10)][-1]
        with django_assert_num_queries(3):  # session, user, calls
            assert client.get(CALLS).status_code == 200
    with django_assert_num_queries(3):
        assert client.get(f"{CALLS}/{row.pk}").status_code == 200
