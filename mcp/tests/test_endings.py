"""How calls end: results, which count once, and cancellations."""

import json
from typing import Any

import pytest

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls
from mcp.models import Connector
from mcp.states import Outcome, State, Verdict
from mcp.tests import queues
from mcp.tests.queues import DONE, Clock, begun, claimed, connector_of, holder_of, new_call, row

alice, bob, charlie = people.alice, people.bob, people.charlie
time_ = queues.time_


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return connector_of(alice)


# Finish.


@pytest.mark.parametrize(
    ("outcome", "body", "state"),
    [
        (Outcome.DONE, DONE, State.SUCCEEDED),
        (Outcome.DONE, '{"content":[],"isError":false}', State.SUCCEEDED),
        (Outcome.DONE, '{"content":[],"isError":true}', State.FAILED),
        (Outcome.ERROR, '{"code":-32601,"message":"no such method"}', State.FAILED),
    ],
)
def test_it_keeps_a_result_as_it_came(
    laptop: Connector, outcome: Outcome, body: str, state: State
) -> None:
    holder, call = begun(laptop)
    assert calls.finish(holder, call.id, call.fence, outcome, body) == Verdict.ACCEPTED
    found = row(call.id)
    assert (found.state, found.outcome, found.result) == (state, outcome, body)
    assert found.finished_at is not None


@pytest.mark.parametrize(
    ("outcome", "body", "said"),
    [
        (Outcome.INTERRUPTED, None, "Outcome unknown: the tool's server or its machine stopped"),
        (Outcome.CANCELLED, None, "was stopped"),
        (Outcome.DONE, None, "not what MCP describes"),
        (Outcome.DONE, "[]", "not what MCP describes"),
        (Outcome.DONE, "{", "not what MCP describes"),
        (Outcome.DONE, '{"a":"' + "x" * calls.MAX_RESULT_BYTES + '"}', "more than 1048576 bytes"),
    ],
)
def test_it_says_in_words_what_is_no_result(
    laptop: Connector, outcome: Outcome, body: str | None, said: str
) -> None:
    holder, call = begun(laptop)
    for verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        assert calls.finish(holder, call.id, call.fence, outcome, body) == verdict
    found = row(call.id)
    assert found.state == State.FAILED
    text: dict[str, Any] = json.loads(found.result or "")
    assert text["isError"] is True
    assert said in text["content"][0]["text"]


def test_it_takes_a_result_once(laptop: Connector) -> None:
    holder, call = begun(laptop)
    sent = (holder, call.id, call.fence)
    assert calls.finish(*sent, Outcome.DONE, DONE) == Verdict.ACCEPTED
    assert calls.finish(*sent, Outcome.DONE, DONE) == Verdict.DUPLICATE
    assert calls.finish(*sent, Outcome.DONE, '{"content":[1]}') == Verdict.CONFLICT
    assert calls.finish(*sent, Outcome.ERROR, DONE) == Verdict.CONFLICT
    assert calls.finish(holder, call.id, call.fence + 1, Outcome.DONE, DONE) == Verdict.CONFLICT
    assert row(call.id).result == DONE


def test_it_takes_no_result_of_who_did_not_begin(
    laptop: Connector, bob: Person, charlie: Person
) -> None:
    holder, call = claimed(laptop)
    assert calls.finish(holder, call.id, call.fence, Outcome.DONE, DONE) == Verdict.CONFLICT
    calls.start(holder, call.id, call.fence)
    for other in (connector_of(bob), connector_of(charlie)):
        sent = (holder_of(other), call.id, call.fence)
        assert calls.finish(*sent, Outcome.DONE, DONE) == Verdict.UNKNOWN
    assert calls.finish(holder, call.id, call.fence - 1, Outcome.DONE, DONE) == Verdict.CONFLICT
    assert row(call.id).state == State.RUNNING


def test_it_takes_a_late_result_until_the_call_is_lost(laptop: Connector, time_: Clock) -> None:
    holder, late = begun(laptop, deadline_s=20)
    _, lost = begun(laptop, deadline_s=20)
    time_.moves(calls.LEASE_S)
    assert set(calls.reap().orphaned) == {late.id, lost.id}
    time_.moves(20 + calls.GRACE_S - calls.LEASE_S - 1)
    assert calls.finish(holder, late.id, late.fence, Outcome.DONE, DONE) == Verdict.ACCEPTED
    time_.moves(1)
    assert calls.reap().lost == [lost.id]
    assert calls.finish(holder, lost.id, lost.fence, Outcome.DONE, DONE) == Verdict.CONFLICT
    found = row(lost.id)
    assert found.result is None
    assert "Outcome unknown" in (calls.result_of(found.state, found.result) or "")


# Cancel.


def test_it_cancels_at_once_what_waits(laptop: Connector, charlie: Person) -> None:
    call_id = calls.enqueue(new_call(laptop))
    assert not calls.cancel(charlie.organization.id, call_id)
    assert calls.cancel(laptop.organization_id, call_id)
    assert not calls.cancel(laptop.organization_id, call_id)
    assert row(call_id).state == State.CANCELLED
    assert calls.claim(holder_of(laptop), 1) == []


def test_it_asks_the_holder_to_stop_what_runs(laptop: Connector) -> None:
    holder, call = begun(laptop)
    _, other = begun(laptop)
    assert calls.cancel(holder.organization_id, call.id)
    assert row(call.id).state == State.RUNNING
    finished = calls.finish(holder, call.id, call.fence, Outcome.CANCELLED, None)
    assert finished == Verdict.ACCEPTED
    assert row(call.id).state == State.CANCELLED
    # Not asked for: to whoever waits it is a failure.
    calls.finish(holder, other.id, other.fence, Outcome.CANCELLED, None)
    assert row(other.id).state == State.FAILED


def test_it_ends_a_cancelled_call_that_is_released(laptop: Connector) -> None:
    holder, call = claimed(laptop)
    calls.cancel(holder.organization_id, call.id)
    assert calls.release(holder, call.id, call.fence)
    found = row(call.id)
    assert found.state == State.CANCELLED
    assert "before the tool ran" in (calls.result_of(found.state, found.result) or "")
