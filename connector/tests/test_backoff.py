"""A pause is anything up to twice as long each time, and never longer than the most."""

import pytest

from opscenter_connector import backoff, choosing
from opscenter_connector.choosing import Choice
from opscenter_connector.sessions import SessionEndError
from opscenter_connector.settings import Transport

MANY = 1000
FIRST_S, AWAY_MOST_S = backoff.FIRST_S, choosing.AWAY_MOST_S


@pytest.fixture(autouse=True)
def unshortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is for users: all other tests wait less."""
    monkeypatch.setattr(backoff, "FIRST_S", FIRST_S)  # conftest.py shortens it
    monkeypatch.setattr(choosing, "AWAY_MOST_S", AWAY_MOST_S)  # and this


@pytest.mark.parametrize(
    ("attempt", "most_s"), [(0, 0.5), (1, 1.0), (3, 4.0), (5, 16.0), (6, 30.0), (10**6, 30.0)]
)
def test_it_is_anything_up_to_twice_as_long_each_time(attempt: int, most_s: float) -> None:
    delays = [backoff.delay_s(attempt, 30.0) for _ in range(MANY)]
    assert 0 <= min(delays) < most_s / 10
    assert most_s * 0.9 < max(delays) <= most_s


def test_a_gateway_is_never_left_alone_for_longer_than_five_seconds() -> None:
    choice = Choice(Transport.WEBSOCKET)
    gone = SessionEndError("refused", unreachable=True)
    pauses = [choice.ended(gone, held_s=None) for _ in range(MANY)]
    assert 4.5 < max(pauses) <= 5
