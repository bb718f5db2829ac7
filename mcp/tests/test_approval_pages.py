"""/api/mcp/approvals: what waits for whom, and what is said to it."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Membership
from accounts.principal import APPROVE, CALLBACK, MESSAGES
from accounts.tests.people import Person, Role, alice, bob, charlie, uses_written
from mcp.models import Approval, ToolCall
from mcp.states import State
from mcp.tests.machines import call, machine
from mcp.tests.pages import operator, with_key
from mcp.views import deciding

__all__ = ["alice", "bob", "charlie", "uses_written"]

APPROVALS = "/api/mcp/approvals"
DIGEST, OTHER = "a" * 64, "b" * 64
SOON = timedelta(minutes=5)

# What is decided is written on threads of its own.
pytestmark = pytest.mark.django_db(transaction=True)


def waiting(person: Person, params: dict[str, Any] | None = None, **more: Any) -> Approval:
    """A call of the person's machine that waits for them."""
    until = timezone.now() + more.pop("lasts", SOON)
    asked = {"name": "bash", "arguments": {"command": "make"} if params is None else params}
    row = call(
        machine(person),
        State.APPROVAL,
        server="local",
        tool="bash",
        params=json.dumps(asked),
        deadline=until,
        starts=0,
    )
    found: dict[str, Any] = {
        "asked_by": "machine",
        "fence": 1,
        "digest": DIGEST,
        "reason": "bash asks",
        "expires_at": until,
        **more,
    }
    return Approval.objects.create(
        organization_id=row.organization_id,
        user_id=row.user_id,
        connector_id=row.connector_id,
        call=row,
        **found,
    )


def decide(client: Any, row: Approval, approve: bool = True, digest: str = DIGEST) -> Any:
    body = {"approve": approve, "digest": digest}
    return client.post(f"{APPROVALS}/{row.pk}", body, format="json")


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["results"]]


def of_staff(organization: Any, may: bool = True) -> Person:
    """Somebody of the staff with a place in the organization."""
    person = operator()
    Membership.objects.create(organization=organization, user=person.user, role=Role.MEMBER)
    if may:
        person.user.user_permissions.add(Permission.objects.get(codename="change_approval"))
    return person


def test_it_shows_the_exact_call(alice: Person) -> None:
    params = {"command": "printf '\u202e\x1b' \n", "n": [1, 1.0, None], "deep": {"a": "x" * 9000}}
    row = waiting(alice, params)
    answer = alice.signed_in().get(APPROVALS)
    (shown,) = answer.json()["results"]
    assert shown["arguments"] == params
    assert (shown["server"], shown["tool"], shown["machine"]) == ("local", "bash", "laptop")
    assert (shown["digest"], shown["reason"], shown["user"]) == (DIGEST, "bash asks", "alice")
    assert answer.json()["has_more"] is False
    one = alice.signed_in().get(f"{APPROVALS}/{row.pk}").json()
    assert one == shown


def test_it_lets_the_owner_approve(alice: Person) -> None:
    row = waiting(alice)
    answer = decide(alice.signed_in(), row)
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": str(row.pk), "call_id": str(row.call_id), "state": "approved"},
    )
    row.refresh_from_db()
    assert (row.state, row.source, row.decider) == ("approved", "web", "alice")
    assert (row.decided_by, row.place) == (f"user:{alice.user.pk}", "127.0.0.1")
    there = ToolCall.objects.get()
    assert (there.state, there.approval) == ("queued", DIGEST)
    assert ids(alice.signed_in().get(APPROVALS)) == []


def test_it_lets_a_program_refuse(alice: Person) -> None:
    row = waiting(alice)
    client = with_key(alice, [APPROVE])
    assert ids(client.get(APPROVALS)) == [str(row.pk)]
    assert decide(client, row, approve=False).json()["state"] == "refused"
    row.refresh_from_db()
    assert (row.source, row.decider) == ("api", "alice")
    assert row.decided_by.startswith("key:")
    assert ToolCall.objects.get().state == "failed"


def test_it_takes_no_key_that_lies_on_the_machine(alice: Person) -> None:
    row = waiting(alice)
    client = with_key(alice, [CALLBACK, MESSAGES])
    assert client.get(APPROVALS).status_code == 403
    assert decide(client, row).status_code == 403
    assert ToolCall.objects.get().state == "approval"


@pytest.mark.parametrize("approve", [True, False])
def test_it_shows_nothing_to_others_and_lets_them_decide_nothing(
    alice: Person, bob: Person, charlie: Person, approve: bool
) -> None:
    row = waiting(alice)
    outsider, looker = operator(), bob
    for client in (
        looker.signed_in(),
        charlie.signed_in(),
        with_key(looker),
        with_key(charlie),
        outsider.signed_in(),
    ):
        assert ids(client.get(APPROVALS)) == []
        missing = client.get(f"{APPROVALS}/{row.pk}")
        unknown = client.get(f"{APPROVALS}/{uuid4()}")
        assert (missing.status_code, missing.json()) == (404, unknown.json())
        assert decide(client, row, approve).status_code == 404
    assert ToolCall.objects.get().state == "approval"


def test_it_lets_operators_decide_in_their_organizations_by_their_right(
    alice: Person, charlie: Person
) -> None:
    row, theirs = waiting(alice), waiting(charlie)
    olga = of_staff(alice.organization)
    assert ids(olga.signed_in().get(APPROVALS)) == [str(row.pk)]
    assert decide(olga.signed_in(), theirs).status_code == 404
    assert with_key(olga).get(APPROVALS).json()["results"] == []  # a key of staff is a key
    assert decide(olga.signed_in(), row).status_code == 200


def test_it_lets_no_operator_decide_without_the_right(alice: Person) -> None:
    row = waiting(alice)
    olga = of_staff(alice.organization, may=False)
    assert ids(olga.signed_in().get(APPROVALS)) == []
    assert decide(olga.signed_in(), row).status_code == 404


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def test_it_names_why_an_answer_does_not_count(alice: Person) -> None:
    client, row = alice.signed_in(), waiting(alice)
    assert refusal(decide(client, row, digest=OTHER)) == (409, "changed")
    assert decide(client, row).status_code == 200
    assert refusal(decide(client, row)) == (409, "used")
    assert refusal(decide(client, row, approve=False)) == (409, "used")
    late = waiting(alice, lasts=timedelta(seconds=-1))
    assert ids(client.get(APPROVALS)) == []
    assert refusal(decide(client, late)) == (409, "expired")
    here = waiting(alice, here_only=True)
    assert refusal(decide(client, here)) == (409, "terminal_only")
    assert decide(client, here, approve=False).status_code == 200
    gone = waiting(alice)
    client.post(f"/api/mcp/calls/{gone.call_id}/cancel")
    assert refusal(decide(client, gone)) == (409, "withdrawn")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"digest": DIGEST}, "approve"),
        ({"approve": True}, "digest"),
        ({"approve": "yes", "digest": DIGEST}, "approve"),
        ({"approve": None, "digest": DIGEST}, "approve"),
        ({"approve": True, "digest": DIGEST.upper()}, "digest"),
        ({"approve": True, "digest": DIGEST + "\n"}, "digest"),
        ({"approve": True, "digest": 7}, "digest"),
        ({"approve": True, "digest": DIGEST, "always": True}, "always"),
    ],
)
def test_it_names_the_wrong_field(alice: Person, body: dict[str, Any], field: str) -> None:
    row = waiting(alice)
    answer = alice.signed_in().post(f"{APPROVALS}/{row.pk}", body, format="json")
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_it_shows_fewer_where_they_are_large(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [waiting(alice, {"text": "x" * 1000}) for _ in range(3)]
    client = alice.signed_in()
    monkeypatch.setattr(deciding, "SHOWN_BYTES", 2500)
    answer = client.get(APPROVALS)
    assert ids(answer) == [str(row.pk) for row in rows[:2]]
    assert answer.json()["has_more"] is True
    monkeypatch.setattr(deciding, "SHOWN_BYTES", 10)
    assert ids(client.get(APPROVALS)) == [str(rows[0].pk)]
    monkeypatch.undo()
    monkeypatch.setattr(deciding, "SHOWN_MOST", 2)
    answer = client.get(APPROVALS)
    assert (len(ids(answer)), answer.json()["has_more"]) == (2, True)


def test_it_asks_the_database_as_often_for_many_as_for_one(
    alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = alice.signed_in()
    for _ in range(3):
        waiting(alice)
    with django_assert_num_queries(5):  # session, user, places, the questions, are there more
        client.get(APPROVALS)
