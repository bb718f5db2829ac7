"""Queries that are written once: the same rows each time, for other values, on either database."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db.models import QuerySet

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, clock, conditions, prepared
from mcp.models import Connector, ToolCall
from mcp.tests import queues
from mcp.tests.queues import Clock, connector_of, new_call

alice, bob = people.alice, people.bob
time_ = queues.time_
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


@prepared.insert_unless
def put(*, laptop: Connector, call_id: UUID, server: str, waiter: UUID | None) -> prepared.Put:
    row = ToolCall(
        id=call_id,
        organization_id=laptop.organization_id,
        user_id=laptop.user_id,
        connector_id=laptop.id,
        server=server,
        tool="read",
        params="{}",
        has_effects=False,
        request_id="r",
        tool_use_id=server,
        waiter=waiter,
        state="queued",
        deadline=clock.now(),
    )
    return row, ToolCall.objects.filter(server=server).values_list("id")


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


def test_a_row_is_put_in_unless_there_is_another(laptop: Connector) -> None:
    for server, waiter in [("files", None), ("shell", uuid4())]:
        first = uuid4()
        for call_id, rows in [(first, 1), (uuid4(), 0)]:
            assert put(laptop=laptop, call_id=call_id, server=server, waiter=waiter) == rows
        row = ToolCall.objects.get(server=server)
        assert (row.id, row.waiter, row.state, row.params) == (first, waiter, "queued", "{}")
        assert abs(row.created_at - row.deadline) < timedelta(seconds=9)  # the database's own word


def test_it_is_written_anew_once_forgotten(laptop: Connector, time_: Clock) -> None:
    call_id = calls.enqueue(new_call(laptop, tool="write", deadline_s=10))
    asked: dict[str, Any] = {"connector_id": laptop.id, "tool": "write", "most": 1}
    assert [row[0] for row in queued(**asked)] == [call_id]
    assert [row[0] for row in queued(**asked)] == [call_id]
    assert written == ["queued"]
    time_.moves(11)  # which forgets
    assert queued(**asked) == []
    assert written == ["queued", "queued"]


def test_a_query_that_can_find_nothing_finds_nothing(laptop: Connector) -> None:
    @prepared.select
    def nothing(*, call_id: UUID) -> QuerySet[Any, Any]:
        return ToolCall.objects.filter(id=call_id, pk__in=[]).values_list("id")

    assert nothing(call_id=calls.enqueue(new_call(laptop))) == []


def baked_in(*, connector_id: UUID, fence: int) -> QuerySet[Any, Any]:
    return ToolCall.objects.filter(connector_id=connector_id, fence=fence + 1).values_list("id")


def left_out(*, connector_id: UUID, fence: int) -> QuerySet[Any, Any]:
    return ToolCall.objects.filter(connector_id=connector_id).values_list("id")


@pytest.mark.django_db
@pytest.mark.parametrize("write", [baked_in, left_out])
def test_a_value_that_has_no_place_of_its_own_is_a_defect(
    write: Callable[..., QuerySet[Any, Any]],
) -> None:
    with pytest.raises(prepared.UnplacedError, match=r"does not use \{'fence'\}"):
        prepared.select(write)(connector_id=uuid4(), fence=1)
