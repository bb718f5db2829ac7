"""The life of calls under random faults."""

from collections import Counter

import pytest

from tests.world import FINAL, STEPS, World


@pytest.mark.parametrize("seed", range(500))
def test_every_call_ends_and_effects_happen_once(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.settle()
    # None is left orphaned or running, which the gateway would have to call lost.
    assert {row["state"] for row in world.rows.values()} <= FINAL
    assert world.work.empty


@pytest.mark.parametrize("seed", range(200))
def test_effects_happen_once_even_if_the_gateway_errs(seed: int) -> None:
    world = World(seed, honest=False)
    for _ in range(STEPS):
        world.step()


def test_the_faults_do_happen() -> None:
    ends: Counter[str] = Counter()
    repeated = 0
    for seed in range(100):
        world = World(seed)
        for _ in range(STEPS):
            world.step()
        world.settle()
        ends.update(row["state"] for row in world.rows.values())
        repeated += sum(times > 1 for times in world.ran.values())
    assert all(ends[state] > 10 for state in FINAL)
    assert repeated > 10  # of those without effects
