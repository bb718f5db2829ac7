"""The table of attacks, in both layers and without any."""

import pytest

from tests.sandbox.arena import Arena
from tests.sandbox.attacks import Attack
from tests.sandbox.attacks_by_running import EXECUTE, NETWORK, PROCESSES
from tests.sandbox.attacks_on_files import READ, WRITE
from tests.sandbox.person import Person

pytestmark = pytest.mark.real

ATTACKS = READ + WRITE + EXECUTE + NETWORK + PROCESSES


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_it_holds(attack: Attack, layer: str, here: Arena, person: Person) -> None:
    found = person.run(layer, here.workspace, here.said(attack.command), within_s=attack.within_s)
    assert "refused" not in found, found
    through = here.came_through(attack, found["stdout"] + found["stderr"])
    assert through == (layer in attack.gaps), (attack.what, found)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.bare], ids=lambda attack: attack.id)
def test_it_would_come_through_without_a_sandbox(
    attack: Attack, here: Arena, person: Person
) -> None:
    """Or the row would prove nothing."""
    found = person.ask(
        op="bare",
        cwd=here.workspace,
        command=here.said(attack.command),
        within_s=attack.within_s,
    )
    assert here.came_through(attack, found["stdout"] + found["stderr"]), (attack.what, found)


def test_its_gaps_are_the_documented_ones() -> None:
    gaps = {attack.id for attack in ATTACKS if attack.gaps}
    assert gaps == {"W07", "W15", "W16", "P20"}
