"""A pause is anything up to twice as long each time, and never longer than the most."""

import pytest

from opscenter_connector import backoff
from opscenter_connector.choosing import Choice
from opscenter_connector.sessions import SessionEndError
from opscenter_connector.settings import Transport

MANY = 1000
FIRST_S, MOST_S = backoff.FIRST_S, backoff.MOST_S  # other tests wait less


@pytest.mark.parametrize(
    ("attempt", "most_s"), [(0, 0.5), (1, 1.0), (3, 4.0), (5, 16.0), (6, 30.0), (10**6, 30.0)]
)
def test_it_is_anything_up_to_twice_as_long_each_time(
    monkeypatch: pytest.MonkeyPatch, attempt: int, most_s: float
) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", FIRST_S)
    monkeypatch.setattr(backoff, "MOST_S", MOST_S)
    delays = [backoff.delay_s(attempt) for _ in range(MANY)]
    assert 0 <= min(delays) < most_s / 10
    assert most_s * 0.9 < max(delays) <= most_s


def test_a_gateway_is_never_left_alone_for_longer_than_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "MOST_S", MOST_S)
    choice = Choice(Transport.WEBSOCKET)
    gone = SessionEndError("refused", unreachable=True)
    assert max(choice.ended(gone, held_s=None) for _ in range(MANY)) <= 5
