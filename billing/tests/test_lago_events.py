"""What an event says, and which properties go out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import events


@pytest.mark.parametrize(
    ("nano", "said"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (1_500_000_000, "1.5"),
        (10_000_000_000, "10"),
        (9_007_199_254_740_993, "9007199.254740993"),
    ],
)
def test_it_says_dollars_exactly(nano: int, said: str) -> None:
    assert events.dollars(nano) == said


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_dollars_lose_no_nano(nano: int) -> None:
    whole, _, part = events.dollars(abs(nano)).partition(".")
    assert int(whole) * 10**9 + int(part.ljust(9, "0") or 0) == abs(nano)


def test_a_property_may_have_another_name_at_lago() -> None:
    assert events.fields(["model", "cost_usd = price"]) == {"model": "model", "cost_usd": "price"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["model", "colour"], "'colour' is no property; there are model, "),
        (["model", "model"], "'model' stands there twice"),
        (["cost_usd=model", "model"], "'model' stands there twice"),
    ],
)
def test_a_wrong_property_names_itself(names: list[str], says: str) -> None:
    found = events.fields(names)
    assert isinstance(found, str)
    assert says in found


def test_every_default_is_known() -> None:
    assert isinstance(events.fields(events.DEFAULT), dict)
