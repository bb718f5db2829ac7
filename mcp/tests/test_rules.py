"""What the database itself refuses of a call, whoever writes it."""

import uuid
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.tests import people
from accounts.tests.people import Person
from mcp.models import Approval, AuditedCall, Connector, PolicyVersion, ToolCall, ToolCallEvent
from mcp.states import FINAL, NEXT, State

alice, charlie = people.alice, people.charlie
SOON = timedelta(minutes=1)
HELD_SINCE: dict[State, dict[str, Any]] = {
    State.QUEUED: {},
    State.APPROVAL: {"asked_by": "machine"},
    State.LEASED: {"lease_until": True, "deliveries": 1},
    State.RUNNING: {"lease_until": True, "deliveries": 1, "starts": 1},
    State.ORPHANED: {"deliveries": 1, "starts": 1},
    State.LOST: {"deliveries": 1, "starts": 1},
    State.SUCCEEDED: {"result": "{}", "deliveries": 1, "starts": 1},
    State.FAILED: {"result": "{}", "deliveries": 1, "starts": 1},
    State.CANCELLED: {},
    State.EXPIRED: {},
}
STEPS = [(old, new) for old in State for new in State if old != new]


def columns(state: State) -> dict[str, Any]:
    """The columns of a row in this state that satisfy all constraints."""
    now = timezone.now()
    found: dict[str, Any] = {"state": state, "lease_until": None, "finished_at": None}
    found |= HELD_SINCE[state]
    if found["lease_until"]:
        found["lease_until"] = now + SOON
    if state in FINAL:
        found["finished_at"] = now
    return found


def connector_of(person: Person) -> Connector:
    return Connector.objects.create(
        organization=person.organization, user=person.user, instance=uuid.uuid4(), name="laptop"
    )


def call_of(person: Person, connector: Connector | None = None, **more: Any) -> ToolCall:
    return ToolCall.objects.create(
        **{
            "organization": person.organization,
            "user": person.user,
            "connector": connector or connector_of(person),
            "server": "files",
            "tool": "read",
            "params": "{}",
            "has_effects": True,
            "request_id": str(uuid.uuid4()),
            "tool_use_id": "t",
            "deadline": timezone.now() + SOON,
            "state": State.QUEUED,
            **more,
        }
    )


def question_of(call: ToolCall, **more: Any) -> Approval:
    """A question about a call that is open, unless said otherwise."""
    found: dict[str, Any] = {
        "organization_id": call.organization_id,
        "user_id": call.user_id,
        "connector_id": call.connector_id,
        "asked_by": "machine",
        "fence": 1,
        "expires_at": timezone.now() + SOON,
        **more,
    }
    return Approval.objects.create(call=call, **found)


def refused(call: ToolCall, **changes: Any) -> bool:
    """Whether the database refuses this UPDATE."""
    try:
        with transaction.atomic():
            ToolCall.objects.filter(id=call.id).update(**changes)
    except IntegrityError:
        return True
    return False


@pytest.mark.parametrize(("old", "new"), STEPS, ids=[f"{old}-{new}" for old, new in STEPS])
def test_it_takes_the_steps_of_the_table_and_no_others(
    alice: Person, old: State, new: State
) -> None:
    call = call_of(alice, **columns(old), has_effects=False)
    if old == State.APPROVAL and new == State.QUEUED:
        question_of(call)
    assert refused(call, **columns(new)) is (new not in NEXT.get(old, ()))


@pytest.mark.parametrize("state", sorted(FINAL))
def test_it_never_changes_a_final_call(alice: Person, state: State) -> None:
    call = call_of(alice, **columns(state))
    for changes in ({"result": '{"a":1}'}, {"fence": 9}, {"finished_at": timezone.now()}):
        assert refused(call, **changes)
    assert not refused(call, audited=True)  # which is said of it after its end


def test_it_protects_every_column_of_a_final_call_but_one() -> None:
    kept = import_module("mcp.migrations.0005_steps").OF_A_CALL
    assert {field.column for field in ToolCall._meta.concrete_fields} - {"audited"} == set(kept)


def test_it_begins_nothing_that_waits_for_an_approval(alice: Person) -> None:
    call = call_of(alice, **columns(State.LEASED), asked_by="machine")
    assert refused(call, **columns(State.RUNNING))
    assert not refused(call, approval="a" * 64)
    assert refused(call, **columns(State.RUNNING))  # it is not spent
    assert not refused(call, **columns(State.RUNNING), approval="")


@pytest.mark.parametrize("more", [{"has_effects": True}, {"asked_by": "organization"}])
def test_it_begins_in_one_step_only_what_nobody_is_asked_about(
    alice: Person, more: dict[str, Any]
) -> None:
    call = call_of(alice, **columns(State.QUEUED), **{"has_effects": False, **more})
    assert refused(call, **columns(State.RUNNING))
    assert not refused(call, **columns(State.LEASED))


def test_what_begins_in_one_step_was_handed_out_all_the_same(alice: Person) -> None:
    call = call_of(alice, **columns(State.QUEUED), has_effects=False)
    ToolCall.objects.filter(id=call.id).update(**columns(State.RUNNING), fence=1)
    told = list(call.events.values_list("state", "fence"))
    assert told == [("queued", 0), ("leased", 1), ("running", 1)]


def test_it_approves_nothing_that_nobody_was_asked_about(alice: Person) -> None:
    call = call_of(alice, **columns(State.APPROVAL))
    question_of(call, digest="a" * 64)
    assert refused(call, **columns(State.QUEUED), approval="b" * 64)
    assert not refused(call, **columns(State.QUEUED), approval="a" * 64)


def test_it_keeps_an_answer_as_it_was_given(alice: Person, charlie: Person) -> None:
    now = timezone.now()
    call = call_of(alice, **columns(State.APPROVAL))
    with pytest.raises(IntegrityError), transaction.atomic():
        question_of(call, organization_id=charlie.organization.id)
    asked = question_of(call, digest="a" * 64)
    with pytest.raises(IntegrityError), transaction.atomic():
        question_of(call)  # a second one
    rows = Approval.objects.filter(id=asked.id)
    said = {"decided_at": now, "decided_by": "user:1", "source": "web"}
    wrong: list[dict[str, Any]] = [
        {"digest": "b" * 64},
        {"state": "approved"},
        {"state": "approved", "decided_at": now},
    ]
    for changes in wrong:
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**changes)
    rows.update(state="refused", **said)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(state="approved", **said)


def test_it_keeps_policies_and_the_audit_as_they_were_written(alice: Person) -> None:
    saved = PolicyVersion.objects.create(
        organization=alice.organization, version=1, otherwise="ask", saved_by=alice.user
    )
    audited = AuditedCall.objects.create(
        organization=alice.organization, number=1, call=uuid.uuid4(), told="{}"
    )
    for rows, changes in (
        (PolicyVersion.objects.filter(id=saved.id), {"otherwise": "allow"}),
        (AuditedCall.objects.filter(id=audited.id), {"told": '{"a":1}'}),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**changes)
    alice.user.delete()  # who saved it is forgotten, and what was saved is not
    saved.refresh_from_db()
    assert (saved.otherwise, saved.saved_by_id) == ("ask", None)


def test_it_never_lets_a_fence_fall(alice: Person) -> None:
    call = call_of(alice, fence=3)
    assert refused(call, fence=2)
    assert not refused(call, fence=3)
    assert not refused(call, fence=4)


def test_it_keeps_a_call_within_the_organization_of_its_connector(
    alice: Person, charlie: Person
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        call_of(alice, connector_of(charlie))
    call = call_of(alice)
    theirs = connector_of(charlie)
    assert refused(call, connector_id=theirs.id)
    assert refused(call, organization_id=charlie.organization.id)
    assert refused(call, connector_id=theirs.id, organization_id=charlie.organization.id)
    assert refused(call, connector_id=connector_of(alice).id)


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (State.QUEUED, {"state": "asleep"}),
        (State.QUEUED, {"finished_at": timezone.now()}),
        (State.QUEUED, {"lease_until": timezone.now()}),
        (State.LEASED, {"lease_until": None}),
        (State.LEASED, {"deliveries": 0, "starts": 1}),
        (State.RUNNING, {"starts": 0}),
        (State.RUNNING, {"starts": 2, "deliveries": 2}),
        (State.SUCCEEDED, {"result": None}),
        (State.FAILED, {"result": None}),
        (State.EXPIRED, {"finished_at": None}),
        (State.APPROVAL, {"asked_by": ""}),
        (State.APPROVAL, {"approval": "a"}),
        (State.RUNNING, {"approval": "a"}),
        (State.QUEUED, {"audited": True}),
    ],
)
def test_it_refuses_rows_that_contradict_themselves(
    alice: Person, state: State, wrong: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        call_of(alice, **(columns(state) | wrong))


def test_it_writes_an_event_for_each_change_of_state_and_no_other(alice: Person) -> None:
    call = call_of(alice)
    rows = ToolCall.objects.filter(id=call.id)
    rows.update(**columns(State.LEASED), fence=1)
    rows.update(progress={"progress": 1})
    rows.update(**columns(State.RUNNING))
    rows.update(**columns(State.SUCCEEDED))
    events = ToolCallEvent.objects.filter(call=call).values_list("state", "fence")
    assert list(events) == [("queued", 0), ("leased", 1), ("running", 1), ("succeeded", 1)]
    assert abs(timezone.now() - call.events.latest("id").at) < SOON


def test_it_lets_calls_go_with_their_connector(alice: Person) -> None:
    call = call_of(alice, **columns(State.LOST))
    call.connector.delete()
    assert not ToolCallEvent.objects.exists()
