"""So many a second, and so many at once after a rest."""

import pytest

from mcp.allowance import Allowance, SpentError


def test_it_allows_a_burst_and_then_its_rate() -> None:
    allowance = Allowance(per_s=2, at_once=3)
    for _ in range(3):
        allowance.spend(100.0)
    with pytest.raises(SpentError):
        allowance.spend(100.4)
    allowance.spend(100.5)
    with pytest.raises(SpentError):
        allowance.spend(100.5)


def test_it_saves_no_more_than_a_burst() -> None:
    allowance = Allowance(per_s=2, at_once=3)
    allowance.spend(0.0)
    for _ in range(3):
        allowance.spend(1000.0)
    with pytest.raises(SpentError):
        allowance.spend(1000.0)
