"""The queue holds what it promises, and the machine that says so sees defects planted in it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError
from django.db.models import F, Q
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from accounts.tests import people
from accounts.tests.people import Person
from mcp import calls, clock, conditions, ending, holding, prepared
from mcp.conditions import Holder, newest, of_holder, under_fence
from mcp.states import State, Verdict
from mcp.tests import queues
from mcp.tests.queue_consent import ConsentMachine
from mcp.tests.queue_machine import Honest
from mcp.tests.queue_mischief import QueueMachine
from mcp.tests.queues import Clock, connector_of

alice, bob, charlie = people.alice, people.bob, people.charlie
time_ = queues.time_
Plant = Callable[[pytest.MonkeyPatch], None]
EXAMPLES = 20
OF_A_MUTANT = 150  # in fewer each was found, by the same fixed choices

RUNS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # what fails is seldom made readable by shrinking for minutes
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def told(alice: Person, bob: Person, charlie: Person, time_: Clock) -> dict[str, Any]:
    """What the machines work with: three connectors, two of them in one organization."""
    made = [connector_of(each, max_in_flight=3) for each in (alice, bob, charlie)]
    return {"connectors": made, "clock": time_}


@pytest.mark.parametrize("machine", [QueueMachine, ConsentMachine])
def test_it_holds_what_it_promises(machine: type[Honest], told: dict[str, Any]) -> None:
    run_state_machine_as_test(type("Machine", (machine,), told), settings=RUNS)


def instead(name: str, condition: Callable[..., Any], *, of: Any = None) -> Plant:
    """A condition that is another one, for all verbs or for those of one module."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        if of is None:
            patch.setattr(conditions, name, condition)
        else:
            patch.setattr(
                of, "conditions", SimpleNamespace(**{**vars(conditions), name: condition})
            )

    return plant


def duplicate_is_new(patch: pytest.MonkeyPatch) -> None:
    finish = calls.finish

    def broken(*args: Any) -> Verdict:
        verdict = finish(*args)
        return Verdict.ACCEPTED if verdict == Verdict.DUPLICATE else verdict

    patch.setattr(calls, "finish", broken)


def conflict_is_duplicate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "is_repeated", lambda *_: True)


def in_states(*states: State) -> Callable[[], Q]:
    return lambda: Q(state__in=states)


def startable_but_for(*left_out: str) -> Callable[[], Q]:
    def condition() -> Q:
        found: dict[str, Any] = {
            "state": State.LEASED,
            "cancel_requested": False,
            "deadline__gt": clock.now(),
            "lease_until__gt": clock.now(),
        }
        return Q(**{name: value for name, value in found.items() if name not in left_out})

    return condition


def without_effects() -> Q:
    """As it was before persons were asked."""
    return Q(has_effects=False, cancel_requested=False, deadline__gt=clock.now())


def or_any(condition: Callable[..., Q]) -> Callable[..., Q]:
    """It is asked, and overruled: a query that left out one of its values would not be written."""
    return lambda *asked: condition(*asked) | Q(pk__isnull=False)


def of_any_connector(holder: Holder) -> Q:
    return Q(organization_id=holder.organization_id) & or_any(of_holder)(holder)


def under_any_fence(call_id: UUID, fence: int) -> Q:
    return Q(id=call_id) & or_any(under_fence)(call_id, fence)


def of_any_epoch(holder: Holder) -> Q:
    return Q(id=holder.connector_id) & or_any(newest)(holder)


def begins_whatever(left_out: str) -> Callable[[Any], Q]:
    """Of what must hold for a beginning in one step, all but one condition."""

    def condition(newest_policy: Any) -> Q:
        found = {"has_effects": False, "asked_by": "", "policy_version": newest_policy}
        ignored = Q(policy_version=newest_policy) | Q(pk__isnull=False)
        return ignored & Q(**{name: value for name, value in found.items() if name != left_out})

    return condition


L, R, O, W = State.LEASED, State.RUNNING, State.ORPHANED, State.QUEUED  # noqa: E741  (for one table)
MUTANTS: dict[str, Plant] = {
    "tenant": instead("of_holder", or_any(of_holder)),
    "no holder": instead("of_holder", of_any_connector),
    "no holder at the end": instead("of_holder", or_any(of_holder), of=ending),
    "fence not raised": instead("next_fence", lambda: F("fence") + 0),
    "start in any state": instead("startable", in_states(W, L, R)),
    "start under any fence": instead("under_fence", under_any_fence, of=holding),
    "effects in one step": instead("begins_at_once", begins_whatever("has_effects")),
    "start after cancel": instead("startable", startable_but_for("cancel_requested")),
    "start after lease": instead("startable", startable_but_for("lease_until__gt")),
    "start after deadline": instead("startable", startable_but_for("deadline__gt")),
    "result under any fence": instead("under_fence", under_any_fence, of=ending),
    "result when only leased": instead("finishable", in_states(W, L, R, O)),
    "result after the end": instead("finishable", Q),
    "duplicate is new": duplicate_is_new,
    "conflict is duplicate": conflict_is_duplicate,
    "effects again": instead("rerunnable", lambda: Q(deadline__gt=clock.now())),
    "never lost": instead("lost", lambda: Q(pk__in=[])),
    "in flight without limit": instead("room", lambda places, _: places + 64),
    "claim after deadline": instead("claimable", in_states(W)),
    "cancel kills": instead("cancelled_at_once", in_states(W, L, R, O)),
    "release what runs": instead("releasable", in_states(L, R)),
    "renew a lease that is over": instead("renewable", in_states(L, R)),
    "epoch not checked": instead("newest", of_any_epoch),
}


# Those that only a machine sees in which persons are asked.
OF_CONSENT: dict[str, Plant] = {
    "an approval for two beginnings": instead("rerunnable", without_effects),
    "in one step unapproved": instead("begins_at_once", begins_whatever("asked_by")),
    "in one step by an older policy": instead("begins_at_once", begins_whatever("policy_version")),
    "approval of another tenant": instead("may_decide", or_any(conditions.may_decide)),
    "approval after its time": instead("decidable", in_states(State.APPROVAL)),
    "approval of another call": instead("is_same", lambda *_: True),
    "cancelled and still asked": instead("cancelled_at_once", in_states(W)),
    "never unanswered": instead("unanswered", lambda: Q(pk__in=[])),
}
PLANTED = [
    *((QueueMachine, name, plant) for name, plant in MUTANTS.items()),
    *((ConsentMachine, name, plant) for name, plant in OF_CONSENT.items()),
]


@pytest.mark.parametrize(("machine", "name", "plant"), PLANTED, ids=[each[1] for each in PLANTED])
def test_it_sees_a_planted_defect(
    machine: type[Honest], name: str, plant: Plant, told: dict[str, Any]
) -> None:
    wanted = settings(RUNS, max_examples=OF_A_MUTANT)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        prepared.forget()
        with pytest.raises((AssertionError, IntegrityError)):
            run_state_machine_as_test(type("Machine", (machine,), told), settings=wanted)
    prepared.forget()
