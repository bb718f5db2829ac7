"""The verbs of the queue: what each does, and everything that it refuses."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import F

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, enqueueing, leasing
from mcp.calls import Denial
from mcp.models import Connector, ToolCall
from mcp.states import Outcome, State, Verdict
from mcp.tests import queues
from mcp.tests.queues import DONE, Clock, begun, claimed, connector_of, holder_of, new_call, row

alice, bob, charlie = people.alice, people.bob, people.charlie
time_ = queues.time_


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice)


def newer_session(connector: Connector) -> None:
    Connector.objects.filter(id=connector.id).update(epoch=F("epoch") + 1)


# Into the queue.


def test_it_queues_a_call_once_for_its_ids(laptop: Connector) -> None:
    new = new_call(laptop)
    first = calls.enqueue(new)
    assert calls.enqueue(new) == first
    assert calls.enqueue(replace(new, tool_use_id="toolu_2")) != first
    assert ToolCall.objects.count() == 2
    assert row(first).state == State.QUEUED


def test_it_refuses_ids_that_are_those_of_another_call(laptop: Connector) -> None:
    new = new_call(laptop)
    calls.enqueue(new)
    others: list[dict[str, Any]] = [
        {"params": '{"a":1}'},
        {"tool": "read"},
        {"server": "x"},
        {"method": "ping"},
    ]
    for other in others:
        with pytest.raises(calls.OtherCallError):
            calls.enqueue(replace(new, **other))


def test_it_keeps_the_ids_of_two_tenants_apart(laptop: Connector, charlie: Person) -> None:
    first = calls.enqueue(new_call(laptop, request_id="r"))
    assert calls.enqueue(new_call(connector_of(charlie), request_id="r")) != first


def test_it_says_which_queue_is_full(
    alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueueing, "MAX_QUEUED", 2)
    monkeypatch.setattr(enqueueing, "MAX_QUEUED_ORGANIZATION", 3)
    one, two = connector_of(alice), connector_of(alice)
    again = new_call(one)
    first = calls.enqueue(again)
    calls.enqueue(new_call(one))
    with pytest.raises(calls.QueueFullError, match="machine is full: 2"):
        calls.enqueue(new_call(one))
    assert calls.enqueue(again) == first
    calls.enqueue(new_call(two))
    with pytest.raises(calls.QueueFullError, match="organization is full: 3"):
        calls.enqueue(new_call(two))
    calls.enqueue(new_call(connector_of(charlie)))
    assert calls.cancel(one.organization_id, first)
    calls.enqueue(new_call(two))


def test_a_place_that_comes_free_meanwhile_is_taken(
    laptop: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueueing, "MAX_QUEUED", 1)
    open_calls = enqueueing._open_calls
    first = calls.enqueue(new_call(laptop))

    def ended(**asked: Any) -> Any:
        calls.cancel(laptop.organization_id, first)
        return open_calls(**asked)

    monkeypatch.setattr(enqueueing, "_open_calls", ended)  # it ends between the two looks
    second = calls.enqueue(new_call(laptop))
    assert [row(one).state for one in (first, second)] == [State.CANCELLED, State.QUEUED]


def test_it_bounds_arguments_and_deadlines(laptop: Connector, time_: Clock) -> None:
    with pytest.raises(calls.ArgumentsTooLargeError):
        calls.enqueue(new_call(laptop, params=json.dumps("é" * 2**19, ensure_ascii=False)))
    _, call = claimed(laptop, deadline_s=1e9)
    assert call.remaining_ms == calls.MAX_DEADLINE_S * 1000


# Claim.


def test_it_hands_out_the_oldest_first_and_no_more_than_asked(laptop: Connector) -> None:
    ids = [calls.enqueue(new_call(laptop)) for _ in range(3)]
    found = calls.claim(holder_of(laptop), 2)
    assert [call.id for call in found] == ids[:2]
    assert [call.fence for call in found] == [1, 1]
    assert calls.claim(holder_of(laptop), 0) == []


def test_it_begins_what_has_no_effects_in_the_statement_that_hands_it_out(
    laptop: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "start", None)  # a second statement would fail
    ids = [calls.enqueue(new_call(laptop, has_effects=effects)) for effects in (False, True)]
    found = calls.claim_begun(holder_of(laptop), 2)
    assert [(one.id, one.begun) for one in found] == [(ids[0], True), (ids[1], False)]
    reads = row(ids[0])
    assert (reads.state, reads.starts, reads.deliveries) == (State.RUNNING, 1, 1)
    assert reads.started_at is not None
    assert list(reads.events.values_list("state", flat=True)) == ["queued", "leased", "running"]
    assert (row(ids[1]).state, row(ids[1]).starts) == (State.LEASED, 0)


def test_it_hands_out_no_more_than_fit(laptop: Connector) -> None:
    ids = [calls.enqueue(new_call(laptop)) for _ in range(6)]
    holder = holder_of(laptop)
    first = calls.claim(holder, 64)
    assert len(first) == laptop.max_in_flight
    assert calls.claim(holder, 64) == []
    calls.start(holder, first[0].id, 1)
    calls.finish(holder, first[0].id, 1, Outcome.DONE, DONE)
    assert [call.id for call in calls.claim(holder, 64)] == ids[4:5]


def test_it_hands_out_nothing_of_others(laptop: Connector, bob: Person, charlie: Person) -> None:
    calls.enqueue(new_call(laptop))
    for other in (connector_of(bob), connector_of(charlie)):
        assert calls.claim(holder_of(other), 64) == []
    stolen = replace(holder_of(laptop), organization_id=charlie.organization.id)
    with pytest.raises(calls.SupersededError):
        calls.claim(stolen, 64)


def test_it_hands_out_nothing_at_its_deadline(laptop: Connector, time_: Clock) -> None:
    calls.enqueue(new_call(laptop, deadline_s=2))
    time_.moves(2)
    assert calls.claim(holder_of(laptop), 64) == []


def test_it_refuses_an_older_session_everything_but_its_results(laptop: Connector) -> None:
    holder, call = claimed(laptop)
    _, second = begun(laptop)
    newer_session(laptop)
    for verb in (
        lambda: calls.claim(holder, 1),
        lambda: calls.start(holder, call.id, call.fence),
        lambda: calls.renew(holder, [(call.id, call.fence)]),
        lambda: calls.note_progress(holder, second.id, second.fence, {"progress": 1}),
        lambda: calls.release(holder, call.id, call.fence),
    ):
        with pytest.raises(calls.SupersededError):
            verb()
    finished = calls.finish(holder, second.id, second.fence, Outcome.DONE, DONE)
    assert finished == Verdict.ACCEPTED
    assert isinstance(calls.start(holder_of(laptop), call.id, call.fence), int)


# Start.


def test_it_starts_a_call_once(laptop: Connector) -> None:
    holder, call = claimed(laptop, deadline_s=60)
    remaining = calls.start(holder, call.id, call.fence)
    assert isinstance(remaining, int)
    assert 50_000 < remaining <= 60_000
    assert calls.start(holder, call.id, call.fence) == Denial.BEGUN
    found = row(call.id)
    assert (found.state, found.starts) == (State.RUNNING, 1)
    assert found.started_at is not None


def test_it_says_why_a_call_may_not_start(
    laptop: Connector, bob: Person, charlie: Person, time_: Clock
) -> None:
    holder, call = claimed(laptop, deadline_s=60)
    assert calls.start(holder, uuid4(), 1) == Denial.UNKNOWN
    for other in (connector_of(bob), connector_of(charlie)):
        assert calls.start(holder_of(other), call.id, call.fence) == Denial.UNKNOWN
    assert calls.start(holder, call.id, call.fence + 1) == Denial.MOVED
    time_.moves(calls.LEASE_S)
    assert calls.start(holder, call.id, call.fence) == Denial.SILENT
    calls.reap()
    assert calls.start(holder, call.id, call.fence) == Denial.MOVED
    (again,) = calls.claim(holder, 1)
    assert calls.start(holder, call.id, call.fence) == Denial.MOVED
    calls.cancel(holder.organization_id, call.id)
    assert calls.start(holder, call.id, again.fence) == Denial.CANCELLED
    assert calls.release(holder, call.id, again.fence)
    assert calls.start(holder, call.id, again.fence) == Denial.ENDED
    _, short = claimed(laptop, deadline_s=5)
    time_.moves(5)
    assert calls.start(holder, short.id, short.fence) == Denial.LATE


# Renew, progress, release.


def test_it_renews_what_is_held_and_says_what_is_not(laptop: Connector, time_: Clock) -> None:
    holder, runs = begun(laptop, deadline_s=60)
    _, waits = claimed(laptop, deadline_s=60)
    _, stops = begun(laptop, deadline_s=60)
    calls.cancel(holder.organization_id, stops.id)
    kept = [(call.id, call.fence) for call in (runs, waits, stops)]
    gone = [(runs.id, runs.fence + 1), (uuid4(), 1)]
    time_.moves(10)
    found = calls.renew(holder, [*kept, *gone])
    assert (found.held, found.lost, found.cancel) == (kept, gone, kept[2:])
    time_.moves(10)
    assert calls.reap().touched() == {}
    time_.moves(5)
    assert calls.renew(holder, kept).lost == kept
    assert calls.renew(holder, []) == calls.Renewal(held=[], lost=[], cancel=[])


def test_it_renews_nothing_of_others(laptop: Connector, bob: Person) -> None:
    _, call = begun(laptop)
    assert calls.renew(holder_of(connector_of(bob)), [(call.id, call.fence)]).held == []


def test_it_renews_no_call_for_ever(laptop: Connector, time_: Clock) -> None:
    holder, call = begun(laptop, deadline_s=10)
    for _ in range(int((10 + calls.GRACE_S) / calls.RENEW_S) - 1):
        time_.moves(calls.RENEW_S)
        assert calls.renew(holder, [(call.id, call.fence)]).held
    time_.moves(calls.RENEW_S)
    assert calls.renew(holder, [(call.id, call.fence)]).lost
    time_.moves(calls.LEASE_S)
    calls.reap()
    assert row(call.id).state == State.LOST


def test_it_notes_the_progress_of_what_runs(laptop: Connector) -> None:
    holder, call = claimed(laptop)
    assert not calls.note_progress(holder, call.id, call.fence, {"progress": 1})
    calls.start(holder, call.id, call.fence)
    assert calls.note_progress(holder, call.id, call.fence, {"progress": 2})
    assert not calls.note_progress(holder, call.id, call.fence + 1, {"progress": 3})
    assert row(call.id).progress == {"progress": 2}


def test_it_takes_back_what_has_not_begun(laptop: Connector) -> None:
    holder, call = claimed(laptop)
    assert not calls.release(holder, call.id, call.fence + 1)
    assert calls.release(holder, call.id, call.fence)
    assert not calls.release(holder, call.id, call.fence)
    (again,) = calls.claim(holder, 1)
    assert (again.id, again.fence) == (call.id, call.fence + 1)
    calls.start(holder, again.id, again.fence)
    assert not calls.release(holder, again.id, again.fence)
