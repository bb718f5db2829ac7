"""Which transport is tried next."""

import pytest

from opscenter_connector.choosing import Choice
from opscenter_connector.sessions import SessionEndError
from opscenter_connector.settings import Transport

CUT = SessionEndError("the connection was cut")
AWAY = SessionEndError("refused", unreachable=True)
BUSY = SessionEndError("too often", code=4429, retry_after_s=30)


def test_it_climbs_less_and_less_often() -> None:
    choice = Choice(Transport.AUTO)
    waits = []
    for _ in range(8):
        waits.append(choice.climb_in_s / 0.2)  # of the tests' first wait
        choice.not_climbed()
    assert waits[:4] == pytest.approx([1, 2, 4, 8])
    assert waits == sorted(waits)


def test_a_socket_that_flaps_after_a_climb_is_left_at_once() -> None:
    choice = Choice(Transport.AUTO)
    for _ in range(3):
        choice.ended(CUT, held_s=1)
    assert choice.transport == "polling"
    choice.climbed()
    assert choice.transport == "websocket"
    choice.ended(CUT, held_s=1)
    assert choice.transport == "polling"


def test_a_socket_that_has_held_is_trusted_again() -> None:
    choice = Choice(Transport.AUTO)
    choice.not_climbed()
    choice.climbed()
    choice.ended(CUT, held_s=120)
    assert choice.transport == "websocket"
    assert choice.climb_in_s == pytest.approx(0.2)


def test_polling_that_does_not_work_either_is_not_kept_to() -> None:
    choice = Choice(Transport.AUTO)
    choice.ended(SessionEndError("no", refused_upgrade=True), held_s=None)
    assert choice.transport == "polling"
    choice.ended(AWAY, held_s=None)
    assert choice.transport == "websocket"


def test_a_gateway_that_is_away_says_nothing_of_the_socket() -> None:
    choice = Choice(Transport.AUTO)
    for _ in range(10):
        choice.ended(AWAY, held_s=None)
    assert choice.transport == "websocket"


def test_it_waits_as_long_as_it_is_told_to() -> None:
    assert Choice(Transport.AUTO).ended(BUSY, held_s=None) >= 30
