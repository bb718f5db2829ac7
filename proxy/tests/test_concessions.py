"""What upstreams have refused before."""

from proxy.concessions import MOST, Concessions
from proxy.tests.rules import target


def test_it_learns_one_thing_after_another() -> None:
    concessions = Concessions()
    assert concessions.known(target()) == frozenset()
    concessions.learn(target(), "effort")
    concessions.learn(target(), "tools")
    assert concessions.known(target()) == {"effort", "tools"}


def test_it_knows_it_of_one_upstream_and_model_whoever_asks() -> None:
    concessions = Concessions()
    concessions.learn(target("a", model="m", credential="x"), "effort")
    assert concessions.known(target("a", model="m", credential="y")) == {"effort"}
    others = [target("b"), target("a", model="n"), target("a", base_url="http://elsewhere")]
    assert {concessions.known(other) for other in others} == {frozenset()}


def test_it_keeps_a_bounded_number() -> None:
    concessions = Concessions()
    for number in range(MOST + 1):
        concessions.learn(target(model=str(number)), "effort")
    assert concessions.known(target(model="0")) == frozenset()
    assert concessions.known(target(model=str(MOST))) == {"effort"}
