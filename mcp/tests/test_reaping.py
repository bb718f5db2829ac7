"""What time does to calls, and what becomes of those that nobody waits for."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from accounts.tests import people
from accounts.tests.people import Person
from billing import workers
from billing.models import Worker
from mcp import auditing, calls, reaper, reaping
from mcp.models import Connector, ToolCall, ToolCallEvent
from mcp.reaper import Reaper, Touched
from mcp.states import Outcome, State
from mcp.tests import queues
from mcp.tests.queues import DONE, Clock, begun, claimed, connector_of, holder_of, new_call, row

alice = people.alice
time_ = queues.time_
LIVING, DEAD = UUID(int=1), UUID(int=2)


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice, max_in_flight=16)


def test_it_expires_what_never_began(laptop: Connector, time_: Clock) -> None:
    queued = calls.enqueue(new_call(laptop, deadline_s=20))
    _, held = claimed(laptop, deadline_s=10)
    later = calls.enqueue(new_call(laptop, deadline_s=21))
    calls.release(holder_of(laptop), queued, 1)
    time_.moves(20)
    assert set(calls.reap().touched()["expired"]) == {queued, held.id}
    assert row(queued).state == row(held.id).state == State.EXPIRED
    assert row(later).state == State.QUEUED
    assert "did not run" in (calls.result_of(State.EXPIRED, None) or "")


def test_it_queues_again_what_did_not_begin(laptop: Connector, time_: Clock) -> None:
    holder, call = claimed(laptop, deadline_s=60)
    time_.moves(calls.LEASE_S - 0.1)
    assert calls.reap().touched() == {}
    time_.moves(0.1)
    assert calls.reap().touched() == {"requeued": [call.id]}
    (again,) = calls.claim(holder, 1)
    assert again.fence == call.fence + 1


def test_it_runs_again_only_what_has_no_effects(laptop: Connector, time_: Clock) -> None:
    holder, once = begun(laptop, deadline_s=60)
    _, again = begun(laptop, deadline_s=60, has_effects=False)
    _, stopped = begun(laptop, deadline_s=60, has_effects=False)
    calls.cancel(holder.organization_id, stopped.id)
    time_.moves(calls.LEASE_S)
    touched = calls.reap().touched()
    assert touched["requeued"] == [again.id]
    assert set(touched["orphaned"]) == {once.id, stopped.id}


def test_it_gives_up_a_call_that_takes_its_machine_down_each_time(
    laptop: Connector, time_: Clock
) -> None:
    holder, call = begun(laptop, deadline_s=600, has_effects=False)
    for fence in range(2, calls.MAX_DELIVERIES + 1):
        time_.moves(calls.LEASE_S)
        assert calls.reap().requeued == [call.id]
        calls.claim(holder, 1)
        calls.start(holder, call.id, fence)
    time_.moves(calls.LEASE_S)
    assert calls.reap().orphaned == [call.id]


def test_it_ends_a_cancelled_call_whose_holder_is_silent(laptop: Connector, time_: Clock) -> None:
    holder, call = claimed(laptop)
    calls.cancel(holder.organization_id, call.id)
    time_.moves(calls.LEASE_S)
    assert calls.reap().touched() == {"cancelled": [call.id]}


def test_it_ends_everything_once_all_machines_are_gone(laptop: Connector, time_: Clock) -> None:
    for make in (begun, claimed, begun):
        make(laptop, deadline_s=30)
    calls.enqueue(new_call(laptop, deadline_s=30))
    time_.moves(30 + calls.GRACE_S)
    calls.reap()
    assert not ToolCall.objects.filter(finished_at__isnull=True).exists()


def test_it_finds_later_rows_behind_many(
    laptop: Connector, time_: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaping, "AT_ONCE", 2)
    for _ in range(5):
        calls.enqueue(new_call(laptop, deadline_s=1))
    time_.moves(1)
    assert len(calls.reap().expired) == 5
    time_.moves(86_400)
    auditing.write()
    assert calls.purge(0.5) == 5


def test_it_deletes_calls_that_ended_long_ago(laptop: Connector, time_: Clock) -> None:
    holder, old = begun(laptop, deadline_s=600)
    calls.finish(holder, old.id, old.fence, Outcome.DONE, DONE)
    still_open = calls.enqueue(new_call(laptop, deadline_s=600))
    auditing.write()
    time_.moves(7 * 86_400)
    assert calls.purge(7) == 0
    time_.moves(1)
    assert calls.purge(7) == 1
    assert ToolCall.objects.get().id == still_open
    assert set(ToolCallEvent.objects.values_list("call", flat=True)) == {still_open}


def beat(worker: UUID, count: int) -> None:
    started = {"beat": count, "name": "", "started_at": datetime.now(UTC)}
    Worker.objects.update_or_create(id=worker, defaults=started)


def looked(one: Reaper, until_s: int) -> Touched:
    """What the last look changed, if LIVING beats all the while."""
    touched: Touched = {}
    for second in range(0, until_s + 1, 5):
        beat(LIVING, second)
        touched = one.step(float(second))
    return touched


def test_it_cancels_what_a_dead_process_waited_for(laptop: Connector) -> None:
    beat(DEAD, 7)
    holder, runs = begun(laptop, waiter=DEAD, deadline_s=60)
    waits = calls.enqueue(new_call(laptop, waiter=DEAD, deadline_s=60))
    unknown = calls.enqueue(new_call(laptop, waiter=uuid4(), deadline_s=60))
    own = calls.enqueue(new_call(laptop, waiter=workers.OWN_ID, deadline_s=60))
    living = calls.enqueue(new_call(laptop, waiter=LIVING, deadline_s=60))
    nobody = calls.enqueue(new_call(laptop, deadline_s=60))
    heard: list[Touched] = []
    one = Reaper(told=heard.append)
    assert looked(one, int(workers.DEAD_S) - 5) == {}
    assert heard == []
    beat(workers.OWN_ID, 1)
    one = Reaper(told=heard.append)
    for second in range(0, int(workers.DEAD_S) + 1, 5):
        beat(LIVING, second)
        beat(workers.OWN_ID, second)
        one.step(float(second))
    assert [set(each["abandoned"]) for each in heard] == [{runs.id, waits, unknown}]
    assert row(waits).state == row(unknown).state == State.CANCELLED
    assert row(runs.id).state == State.RUNNING
    assert row(runs.id).cancel_requested
    assert {row(each).state for each in (own, living, nobody)} == {State.QUEUED}
    assert one.step(workers.DEAD_S + 5) == {}
    assert calls.renew(holder, [(runs.id, runs.fence)]).cancel


def test_who_asks_again_for_a_call_waits_for_it_instead(laptop: Connector) -> None:
    """As a client does whose gateway has died: the call is not the dead one's any more."""
    beat(DEAD, 7)
    new = new_call(laptop, waiter=DEAD, deadline_s=60)
    call_id = calls.enqueue(new)
    assert calls.enqueue_or_find(replace(new, waiter=LIVING)) == (call_id, False)
    assert row(call_id).waiter == LIVING
    assert calls.enqueue(replace(new, waiter=None)) == call_id
    assert row(call_id).waiter == LIVING
    one = Reaper()
    for second in range(0, int(workers.DEAD_S) + 1, 5):
        beat(LIVING, second)
        assert one.step(float(second)) == {}


def test_it_purges_hourly(laptop: Connector, time_: Clock) -> None:
    one = Reaper()
    one.step(0.0)
    calls.enqueue(new_call(laptop, deadline_s=1))
    time_.moves(2)
    one.step(1.0)
    time_.moves(8 * 86_400)
    one.step(reaper.PURGE_EVERY_S - 1)
    assert ToolCall.objects.count() == 1
    one.step(reaper.PURGE_EVERY_S)
    assert ToolCall.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_it_runs_in_a_thread_until_told_to_stop(
    alice: Person, monkeypatch: pytest.MonkeyPatch, time_: Clock
) -> None:
    monkeypatch.setattr(reaper, "EVERY_S", 0.01)
    call_id = calls.enqueue(new_call(connector_of(alice), deadline_s=60))
    time_.moves(61)  # here alone: the reaper of a gateway that tests share sees nothing to do
    stop, heard = threading.Event(), threading.Event()
    found: list[Touched] = []

    def told(touched: Touched) -> None:
        found.append(touched)
        heard.set()

    thread = threading.Thread(target=Reaper(told).run, args=[stop])
    thread.start()
    was_heard = heard.wait(10)
    stop.set()
    thread.join(10)
    assert was_heard
    assert not thread.is_alive()
    assert found == [{"expired": [call_id]}]


def test_the_command_says_what_it_did(laptop: Connector, time_: Clock) -> None:
    for _ in range(2):
        calls.enqueue(new_call(laptop, deadline_s=1))
    said = StringIO()
    call_command("reapcalls", "--once", stdout=said)
    assert said.getvalue() == ""
    time_.moves(1)
    call_command("reapcalls", "--once", stdout=said)
    assert said.getvalue() == "2 expired\n"
