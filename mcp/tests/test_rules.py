"""What the database itself refuses of a call, whoever writes it."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.tests import people
from accounts.tests.people import Person
from mcp.models import Connector, ToolCall, ToolCallEvent
from mcp.states import FINAL, NEXT, State

alice, charlie = people.alice, people.charlie
SOON = timedelta(minutes=1)
HELD_SINCE: dict[State, dict[str, Any]] = {
    State.QUEUED: {},
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
    call = call_of(alice, **columns(old))
    assert refused(call, **columns(new)) is (new not in NEXT.get(old, ()))


@pytest.mark.parametrize("state", sorted(FINAL))
def test_it_never_changes_a_final_call(alice: Person, state: State) -> None:
    call = call_of(alice, **columns(state))
    for changes in ({"result": '{"a":1}'}, {"fence": 9}, {"finished_at": timezone.now()}):
        assert refused(call, **changes)


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
