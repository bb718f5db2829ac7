"""When an upstream is left alone, and when it is asked again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.breaker import (
    MOST_OPEN_S,
    MOST_REST_S,
    MOST_RESTS,
    OPEN_S,
    OPENS_AFTER,
    Breakers,
    FullError,
    Place,
    RestingError,
    UnwellError,
    retry_after_s,
)
from proxy.routing import Target
from proxy.tests.rules import target, upstream

NOW = 1000.0
A = target("a")


@pytest.fixture
def breakers() -> Breakers:
    return Breakers(connections=100)


def entered(breakers: Breakers, to: Target = A, now: float = NOW, *, alone: bool = False) -> Place:
    return breakers.enter(to, now, alone=alone)


def fail(breakers: Breakers, times: int, to: Target = A, now: float = NOW) -> None:
    for _ in range(times):
        place = entered(breakers, to, now)
        place.failed(now)
        place.leave()


def test_it_opens_after_several_failures_in_a_row(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER - 1)
    assert breakers.unwell(A.upstream, NOW) == ""
    fail(breakers, 1)
    assert f"a has failed {OPENS_AFTER} times" in breakers.unwell(A.upstream, NOW)
    with pytest.raises(UnwellError) as refused:
        entered(breakers, alone=True)
    assert refused.value.retry_in_s == OPEN_S


def test_it_starts_counting_anew_after_a_success(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER - 1)
    entered(breakers).worked()
    fail(breakers, OPENS_AFTER - 1)
    entered(breakers).leave()


def test_it_says_nothing_about_other_upstreams(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER)
    entered(breakers, target("b")).leave()
    entered(breakers, target("a", base_url="http://elsewhere")).leave()


def test_it_lets_one_probe_through_when_the_pause_is_over(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER)
    later = NOW + OPEN_S
    probe = entered(breakers, now=later)
    for _ in range(3):
        with pytest.raises(UnwellError):
            entered(breakers, now=later)
    assert breakers.unwell(A.upstream, later)
    probe.worked()
    assert breakers.unwell(A.upstream, later) == ""
    entered(breakers, now=later).leave()
    entered(breakers, now=later).leave()


def test_it_doubles_the_pause_with_each_failed_probe_up_to_a_minute(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER)
    now, pauses = NOW, [OPEN_S]
    for _ in range(6):
        now += pauses[-1]
        fail(breakers, 1, now=now)
        with pytest.raises(UnwellError) as refused:
            entered(breakers, now=now)
        pauses.append(refused.value.retry_in_s)
    assert pauses == [5, 10, 20, 40, MOST_OPEN_S, MOST_OPEN_S, MOST_OPEN_S]


def test_it_starts_with_a_short_pause_again_after_a_good_probe(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER)
    fail(breakers, 1, now=NOW + OPEN_S)
    entered(breakers, now=NOW + 100).worked()
    fail(breakers, OPENS_AFTER, now=NOW + 100)
    with pytest.raises(UnwellError) as refused:
        entered(breakers, now=NOW + 100)
    assert refused.value.retry_in_s == OPEN_S


def test_it_takes_another_probe_when_the_client_of_one_leaves(breakers: Breakers) -> None:
    fail(breakers, OPENS_AFTER)
    later = NOW + OPEN_S
    entered(breakers, now=later).leave()
    probe = entered(breakers, now=later)
    with pytest.raises(UnwellError):
        entered(breakers, now=later)
    probe.leave()
    probe.leave()


def test_it_gives_back_no_more_than_its_own_probe(breakers: Breakers) -> None:
    """A request from before the outage ends while another is the probe."""
    early = entered(breakers)
    fail(breakers, OPENS_AFTER)
    later = NOW + OPEN_S
    entered(breakers, now=later)
    early.leave()
    with pytest.raises(UnwellError):
        entered(breakers, now=later)


def test_it_does_not_prolong_the_pause_for_those_already_under_way(breakers: Breakers) -> None:
    places = [entered(breakers) for _ in range(2 * OPENS_AFTER)]
    for number, place in enumerate(places):
        place.failed(NOW + number)
        place.leave()
    entered(breakers, now=NOW + OPENS_AFTER - 1 + OPEN_S).leave()


def test_it_takes_as_many_as_there_are_places(breakers: Breakers) -> None:
    small = target("a", concurrency=2)
    first, _ = entered(breakers, small), entered(breakers, small)
    with pytest.raises(FullError, match="all 2 places"):
        entered(breakers, small, alone=True)
    first.leave()
    first.leave()
    entered(breakers, small)
    with pytest.raises(FullError):
        entered(breakers, small)


def test_it_takes_no_more_in_all_than_there_are_connections() -> None:
    breakers = Breakers(connections=2)
    first = entered(breakers)
    entered(breakers, target("b"))
    with pytest.raises(FullError, match="connections"):
        entered(breakers, target("c"))
    entered(breakers, target("d", kind="demo"))
    first.leave()
    entered(breakers, target("c"))


def test_it_leaves_alone_who_asks_for_patience_while_there_are_others(breakers: Breakers) -> None:
    breakers.rest(A, 30, NOW)
    with pytest.raises(RestingError) as refused:
        entered(breakers, now=NOW + 10)
    assert refused.value.retry_in_s == 20
    entered(breakers, alone=True).leave()
    entered(breakers, now=NOW + 30).leave()


def test_it_rests_one_model_and_one_credential(breakers: Breakers) -> None:
    breakers.rest(target("a", credential="x"), 30, NOW)
    entered(breakers, target("a", credential="y")).leave()
    entered(breakers, target("a", credential="x", model="other")).leave()
    with pytest.raises(RestingError):
        entered(breakers, target("a", credential="x"))


def test_it_rests_a_minute_at_most(breakers: Breakers) -> None:
    breakers.rest(A, float("inf"), NOW)
    entered(breakers, now=NOW + MOST_REST_S).leave()


def test_it_remembers_a_bounded_number_of_rests(breakers: Breakers) -> None:
    for number in range(MOST_RESTS + 1):
        breakers.rest(target("a", model=str(number)), 30, NOW)
    assert len(breakers.of(A.upstream).rests) <= MOST_RESTS


def test_it_never_leaves_the_demo_alone(breakers: Breakers) -> None:
    demo = target("demo", kind="demo", base_url="")
    fail(breakers, 2 * OPENS_AFTER, demo)
    entered(breakers, demo).leave()
    assert breakers.unwell(upstream("demo", kind="demo", base_url=""), NOW) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("9" * 400, float("inf")),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("Wed, 99 Oct 99999 07:28:00 GMT", None),
        ("x" * 8000, None),
    ],
)
def test_it_reads_a_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}) == seconds


def test_it_reads_a_date_as_the_time_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = retry_after_s({"retry-after": date})
    assert seconds is not None
    assert 3500 < seconds <= 3600
    assert retry_after_s({}) is None
