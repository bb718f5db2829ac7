"""Two at once at one call: one of them wins, on real transactions of two threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, enqueueing
from mcp.models import Connector, ToolCall
from mcp.states import Outcome, State, Verdict
from mcp.tests import queues
from mcp.tests.queues import DONE, Clock, begun, claimed, connector_of, holder_of, new_call, row

pytestmark = pytest.mark.django_db(transaction=True)
alice = people.alice
time_ = queues.time_
ROUNDS = 5
WAIT_S = 30
Both = Callable[..., list[Any]]
Claim = Callable[[calls.Holder, int], list[calls.Claimed]]


@pytest.fixture
def both() -> Iterator[Both]:
    """Runs verbs at once, each in a thread of its own; what each returned or raised."""
    pool = ThreadPoolExecutor(8)

    def run(*verbs: Callable[[], Any]) -> list[Any]:
        gate = threading.Barrier(len(verbs))

        def one(verb: Callable[[], Any]) -> Any:
            try:
                gate.wait(WAIT_S)
                return verb()
            except calls.QueueFullError as error:
                return error
            finally:
                connection.close()

        return [each.result(WAIT_S) for each in [pool.submit(one, verb) for verb in verbs]]

    yield run
    pool.shutdown()


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice, max_in_flight=3)


HANDED_OUT = [(calls.claim, State.LEASED), (calls.claim_begun, State.RUNNING)]
by_way = pytest.mark.parametrize(("claim", "state"), HANDED_OUT, ids=["leased", "in one step"])


@by_way
def test_it_hands_a_call_out_once(
    laptop: Connector, both: Both, claim: Claim, state: State
) -> None:
    holder = holder_of(laptop)
    for _ in range(ROUNDS):
        ids = [calls.enqueue(new_call(laptop, has_effects=False)) for _ in range(6)]
        claims = both(*[partial(claim, holder, 2)] * 4)
        found = [call.id for each in claims for call in each]
        assert len(found) == len(set(found)) == laptop.max_in_flight
        assert ToolCall.objects.filter(state=state).count() == laptop.max_in_flight
        for call_id in ids:
            calls.release(holder, call_id, 1)
            calls.cancel(laptop.organization_id, call_id)


def test_it_starts_a_call_once_though_asked_twice(laptop: Connector, both: Both) -> None:
    holder, call = claimed(laptop)
    answers = both(*[partial(calls.start, holder, call.id, call.fence)] * 4)
    assert sum(isinstance(each, int) for each in answers) == 1
    assert row(call.id).starts == 1


def test_it_starts_or_cancels(laptop: Connector, both: Both) -> None:
    for _ in range(ROUNDS):
        holder, call = claimed(laptop)
        begun_, cancelled = both(
            partial(calls.start, holder, call.id, call.fence),
            partial(calls.cancel, holder.organization_id, call.id),
        )
        assert cancelled
        found = row(call.id)
        assert found.cancel_requested
        assert (found.state == State.RUNNING) is isinstance(begun_, int)
        calls.release(holder, call.id, call.fence)
        calls.finish(holder, call.id, call.fence, Outcome.CANCELLED, None)


@by_way
def test_it_hands_out_or_cancels(laptop: Connector, both: Both, claim: Claim, state: State) -> None:
    holder = holder_of(laptop)
    for _ in range(ROUNDS):
        call_id = calls.enqueue(new_call(laptop, has_effects=False))
        claims, cancelled = both(
            partial(claim, holder, 1),
            partial(calls.cancel, holder.organization_id, call_id),
        )
        assert cancelled
        found = row(call_id)
        assert found.state == (state if claims else State.CANCELLED)
        calls.release(holder, call_id, found.fence)


def test_it_takes_one_of_two_results(laptop: Connector, both: Both) -> None:
    for _ in range(ROUNDS):
        holder, call = begun(laptop)
        sent = (holder, call.id, call.fence, Outcome.DONE)
        verdicts = both(
            partial(calls.finish, *sent, DONE),
            partial(calls.finish, *sent, '{"content":[1]}'),
        )
        assert sorted(verdicts) == [Verdict.ACCEPTED, Verdict.CONFLICT]


def test_it_finishes_or_reaps(laptop: Connector, both: Both, time_: Clock) -> None:
    for has_effects in [True, False] * 3:
        holder, call = begun(laptop, has_effects=has_effects, deadline_s=600)
        time_.moves(calls.LEASE_S)
        verdict, *_ = both(
            partial(calls.finish, holder, call.id, call.fence, Outcome.DONE, DONE),
            calls.reap,
            calls.reap,
        )
        state = row(call.id).state
        if verdict == Verdict.ACCEPTED:
            assert state == State.SUCCEEDED
        else:
            assert (verdict, state) == (Verdict.CONFLICT, State.QUEUED)
            assert not has_effects
            calls.cancel(holder.organization_id, call.id)


def test_it_renews_or_reaps(laptop: Connector, both: Both, time_: Clock) -> None:
    for _ in range(ROUNDS):
        holder, call = begun(laptop, deadline_s=600)
        time_.moves(calls.LEASE_S)
        renewal, *_ = both(partial(calls.renew, holder, [(call.id, call.fence)]), calls.reap)
        assert renewal.lost
        assert row(call.id).state == State.ORPHANED


def test_it_never_queues_more_than_fit(
    laptop: Connector, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueueing, "MAX_QUEUED", 2)
    found = both(*[partial(calls.enqueue, new_call(laptop)) for _ in range(6)])
    assert sum(isinstance(each, calls.QueueFullError) for each in found) == 4
    assert ToolCall.objects.count() == 2


def test_it_queues_a_call_once_though_two_ask(laptop: Connector, both: Both) -> None:
    new = new_call(laptop)
    assert len(set(both(*[partial(calls.enqueue, new)] * 4))) == 1
    assert ToolCall.objects.count() == 1
