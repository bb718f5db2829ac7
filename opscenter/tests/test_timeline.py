"""Where things lie in time: bars in percent of the whole, and lines at round times."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opscenter.timeline import MOST_TICKS, Bar, Whole, round_step_s

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0
SECONDS = st.floats(-DAY_S, 10 * DAY_S)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def whole(seconds: float) -> Whole:
    return Whole(start=START, end=at(seconds))


@pytest.mark.parametrize(
    ("start", "begun", "end", "bar"),
    [
        (0, 0, 10, Bar(left=0, width=100, waiting=0)),
        (2, 3, 6, Bar(left=20, width=40, waiting=25)),
        (2, None, 6, Bar(left=20, width=40, waiting=100)),  # it never began
        (5, 6, None, Bar(left=50, width=50, waiting=20)),  # it goes on
        (5, 5, 5, Bar(left=50, width=0, waiting=0)),
        (10, 10, 10, Bar(left=100, width=0, waiting=0)),
    ],
)
def test_it_lays_a_bar_where_it_lasts(
    start: float, begun: float | None, end: float | None, bar: Bar
) -> None:
    found = whole(10).bar(
        at(start), None if end is None else at(end), None if begun is None else at(begun)
    )
    assert found == bar


def test_it_lays_what_is_outside_at_the_edge() -> None:
    assert whole(10).bar(at(-5), at(5), at(-1)) == Bar(left=0, width=50, waiting=0)
    assert whole(10).bar(at(8), at(20), at(30)) == Bar(left=80, width=20, waiting=100)
    assert whole(10).bar(at(6), at(4), at(5)) == Bar(left=60, width=0, waiting=0)  # wrong clocks


def test_it_lays_all_at_the_beginning_of_a_moment() -> None:
    assert whole(0).bar(at(0), at(0), at(0)) == Bar(left=0, width=0, waiting=0)
    assert whole(0).ticks() == []
    assert Whole(start=at(1), end=at(0)).seconds == 0


@given(st.floats(0, 10 * DAY_S), SECONDS, SECONDS, SECONDS)
def test_it_never_lays_anything_outside(
    seconds: float, start: float, begun: float, end: float
) -> None:
    bar = whole(seconds).bar(at(start), at(end), at(begun))
    assert 0 <= bar.left <= 100
    assert 0 <= bar.width <= 100
    assert bar.left + bar.width <= 100 + 1e-9
    assert 0 <= bar.waiting <= 100 + 1e-9


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (0, 0),
        (0.0005, 0),
        (0.005, 0.001),
        (0.3, 0.1),
        (0.31, 0.1),
        (2.3, 0.5),
        (5, 1),
        (44.4, 10),
        (50, 10),
        (51, 15),
        (180, 60),
        (1_000, 300),
        (2_000, 600),
        (5 * DAY_S, DAY_S),
        (11 * DAY_S, 3 * DAY_S),
    ],
)
def test_it_counts_in_round_steps(seconds: float, step: float) -> None:
    assert round_step_s(seconds) == pytest.approx(step)


@given(st.floats(0.001, 100 * DAY_S))
def test_it_draws_a_few_lines_and_none_outside(seconds: float) -> None:
    ticks = whole(seconds).ticks()
    assert ticks[0].left == ticks[0].seconds == 0
    assert 1 < len(ticks) <= MOST_TICKS + 1
    assert all(tick.left <= 100 + 1e-6 for tick in ticks)
    apart = [second.left - first.left for first, second in pairwise(ticks)]
    assert apart == pytest.approx([ticks[1].left] * len(apart))
