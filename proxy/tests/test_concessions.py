"""What upstreams have refused before."""

import uuid

from proxy.concessions import LASTS_S, MOST, Concessions
from proxy.tests.rules import target

WE, THEY = uuid.uuid4(), uuid.uuid4()


def test_it_learns_one_thing_after_another() -> None:
    concessions = Concessions()
    assert concessions.known(WE, target(), 0) == frozenset()
    concessions.learn(WE, target(), "effort", 0)
    concessions.learn(WE, target(), "tools", 1)
    assert concessions.known(WE, target(), 2) == {"effort", "tools"}


def test_it_knows_it_of_one_upstream_and_model_with_any_credential() -> None:
    concessions = Concessions()
    concessions.learn(WE, target("a", model="m", credential="x"), "effort", 0)
    assert concessions.known(WE, target("a", model="m", credential="y"), 0) == {"effort"}
    others = [target("b"), target("a", model="n"), target("a", base_url="http://elsewhere")]
    assert {concessions.known(WE, other, 0) for other in others} == {frozenset()}


def test_what_one_organization_makes_an_upstream_refuse_takes_nothing_from_another() -> None:
    concessions = Concessions()
    concessions.learn(THEY, target(), "effort", 0)
    assert concessions.known(WE, target(), 0) == frozenset()


def test_it_asks_for_it_again_after_a_while() -> None:
    concessions = Concessions()
    concessions.learn(WE, target(), "effort", 0)
    assert concessions.known(WE, target(), LASTS_S - 1) == {"effort"}
    assert concessions.known(WE, target(), LASTS_S) == frozenset()


def test_it_keeps_a_bounded_number() -> None:
    concessions = Concessions()
    for number in range(MOST + 1):
        concessions.learn(WE, target(model=str(number)), "effort", 0)
    assert concessions.known(WE, target(model="0"), 0) == frozenset()
    assert concessions.known(WE, target(model=str(MOST)), 0) == {"effort"}
