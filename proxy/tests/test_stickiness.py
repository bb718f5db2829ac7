"""Where outages have moved a session, by this process's own memory and by the ledger's."""

from datetime import UTC, datetime, timedelta

from proxy.routing import Move
from proxy.stickiness import MOST, MOST_EACH, Moves
from proxy.tests.rules import ACME, OTHER

START = datetime(2026, 1, 1, tzinfo=UTC)
HOME = (ACME, "s")


def move(second: int, to: str = "b") -> Move:
    return (START + timedelta(seconds=second), "m", "a", to)


def test_it_knows_no_move_of_a_session_that_never_moved() -> None:
    moves = Moves()
    moves.note(HOME, move(1))
    assert list(moves.of((OTHER, "s"))) == list(moves.of((ACME, "t"))) == []


def test_it_tells_its_own_moves_and_those_of_others_the_newest_first() -> None:
    moves = Moves()
    moves.note(HOME, move(1, "b"))
    moves.note(HOME, move(3, "c"))
    assert list(moves.of(HOME)) == [move(3, "c"), move(1, "b")]
    moves.learn({HOME: [move(4, "d"), move(2, "e")]})
    assert list(moves.of(HOME)) == [move(4, "d"), move(3, "c"), move(2, "e"), move(1, "b")]


def test_it_forgets_what_the_ledger_no_longer_tells() -> None:
    moves = Moves()
    moves.learn({HOME: [move(1)]})
    assert list(moves.of(HOME)) == [move(1)]
    moves.learn({})
    assert list(moves.of(HOME)) == []


def test_it_keeps_a_few_moves_of_a_session_that_goes_to_and_fro() -> None:
    moves = Moves()
    for second in range(100):
        moves.note(HOME, move(second))
    assert list(moves.of(HOME)) == [move(99 - n) for n in range(MOST_EACH)]


def test_it_forgets_the_session_that_moved_longest_ago_when_there_are_many() -> None:
    moves = Moves()
    moves.note(HOME, move(0))
    moves.note((ACME, "other"), move(0))
    moves.note(HOME, move(1))
    for number in range(MOST - 1):
        moves.note((ACME, str(number)), move(2))
    assert list(moves.of((ACME, "other"))) == []
    assert list(moves.of(HOME)) == [move(1), move(0)]
