"""Queries that are written once: the same rows each time, for other values, on either database."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import Q, QuerySet, Value

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, clock, conditions, prepared
from mcp.models import Connector, ToolCall
from mcp.states import State
from mcp.tests.queues import connector_of, new_call

alice, bob = people.alice, people.bob
written: list[str] = []


@prepared.select
def queued(*, connector_id: UUID, tool: str, most: object) -> QuerySet[Any, Any]:
    written.append("queued")
    found = ToolCall.objects.filter(conditions.claimable(), connector_id=connector_id, tool=tool)
    return found.order_by("created_at", "id").values_list("id", "deadline", "progress")[:most]


@prepared.update
def put_off(*, call_id: UUID, fence: int, lasts: timedelta) -> prepared.Change:
    calls = ToolCall.objects.filter(id=call_id, fence=fence)
    return calls, {"deadline": clock.now() + lasts, "fence": fence}


@prepared.update
def waited_for(*, call_id: UUID, waiter: UUID | None) -> prepared.Change:
    return ToolCall.objects.filter(id=call_id), {"waiter": waiter}


@pytest.fixture
def laptop(alice: Person) -> Connector:
    written.clear()
    return connector_of(alice)


def test_it_is_written_once_for_all_values(laptop: Connector, bob: Person) -> None:
    other = connector_of(bob)
    mine = [calls.enqueue(new_call(laptop, tool="write")) for _ in range(3)]
    theirs = calls.enqueue(new_call(other, tool="read"))
    for _ in range(2):
        found = queued(connector_id=laptop.id, tool="write", most=2)
        assert [call_id for call_id, _, _ in found] == mine[:2]
        assert [row[0] for row in queued(connector_id=other.id, tool="read", most=2)] == [theirs]
    assert queued(connector_id=laptop.id, tool="' OR 1=1 --", most=2) == []
    assert len(queued(connector_id=laptop.id, tool="write", most=3)) == 3
    assert written.count("queued") <= 2  # for each number of rows


def test_it_gives_what_the_models_would(laptop: Connector) -> None:
    call_id = calls.enqueue(new_call(laptop))
    row = ToolCall.objects.values_list("id", "deadline", "progress").get(id=call_id)
    assert queued(connector_id=laptop.id, tool=new_call(laptop).tool, most=1) == [row]


def test_it_says_how_many_rows_it_changed(laptop: Connector) -> None:
    call_id = calls.enqueue(new_call(laptop, deadline_s=1))
    before = ToolCall.objects.get(id=call_id).deadline
    assert put_off(call_id=uuid4(), fence=0, lasts=timedelta(seconds=60)) == 0
    assert put_off(call_id=call_id, fence=1, lasts=timedelta(seconds=60)) == 0
    assert put_off(call_id=call_id, fence=0, lasts=timedelta(seconds=60)) == 1
    after = ToolCall.objects.get(id=call_id).deadline
    assert timedelta(seconds=50) < after - before < timedelta(seconds=70)


def test_a_value_may_be_nothing(laptop: Connector) -> None:
    call_id, waiter = calls.enqueue(new_call(laptop)), uuid4()
    for value in (waiter, None, waiter):
        assert waited_for(call_id=call_id, waiter=value) == 1
        assert ToolCall.objects.get(id=call_id).waiter == value


def test_a_planted_condition_is_never_remembered(
    laptop: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.enqueue(new_call(laptop, tool="write"))
    asked: dict[str, Any] = {"connector_id": laptop.id, "tool": "write", "most": 1}
    assert len(queued(**asked)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(conditions, "claimable", lambda: Q(state=State.LEASED))
        assert queued(**asked) == []
        patch.setattr(conditions, "claimable", lambda: Q(pk__in=[]))
        assert queued(**asked) == []
    assert len(queued(**asked)) == 1


def test_a_clock_that_is_moved_is_asked_anew(
    laptop: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_id = calls.enqueue(new_call(laptop, tool="write"))
    deadline = ToolCall.objects.get(id=call_id).deadline
    for seconds, count in ((-1, 1), (1, 0)):
        now = Value(deadline + timedelta(seconds=seconds))
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        assert len(queued(connector_id=laptop.id, tool="write", most=1)) == count


def test_a_value_that_is_not_used_is_a_defect(db: None) -> None:
    @prepared.select
    def broken(*, connector_id: UUID, fence: int) -> QuerySet[Any, Any]:
        return ToolCall.objects.filter(connector_id=connector_id).values_list("id")

    with pytest.raises(AssertionError, match="fence"):
        broken(connector_id=uuid4(), fence=1)
    assert connection.is_usable()
