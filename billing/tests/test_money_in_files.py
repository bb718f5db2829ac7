"""Amounts as text and as integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import AmountError, parsed, written

MOST = 10**15


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("3.00", 3_000_000_000),
        ("3", 3_000_000_000),
        ("0", 0),
        ("-0", 0),
        ("0.000000001", 1),
        ("0.1000000000", 100_000_000),
        ("1e-9", 1),
        ("12E2", 1_200_000_000_000),
        ("1000000", MOST),
    ],
)
def test_it_takes_an_amount_exactly_as_it_is_written(text: str, nano: int) -> None:
    assert parsed(text, 9, MOST) == nano


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-0.01", "must not be negative"),
        ("0.0000000001", "has more than 9 decimal places"),
        ("1e-10", "has more than 9 decimal places"),
        ("1000000.000000001", "must not be more than 1000000.00"),
        ("1e999", "must not be more than 1000000.00"),
        *((text, "must be a decimal number") for text in ("", "NaN", "Infinity", "-inf", "1e9999")),
        *(
            (text, "must be a decimal number")
            for text in ("$3", "3,00", "3.", ".5", " 3", "+3", "٣")
        ),
        *((text, "must be a decimal number") for text in ("1_000", "0x10", "3\n", "1" * 41)),
    ],
)
def test_it_refuses_what_is_no_amount_and_says_why(text: str, says: str) -> None:
    with pytest.raises(AmountError, match=f"^{says}"):
        parsed(text, 9, MOST)


@given(st.integers(0, MOST))
def test_it_reads_what_it_writes(nano: int) -> None:
    assert parsed(written(nano), 9, MOST) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (3_000_000_000, "3.00"), (-1, "-0.000000001"), (125_000_000, "0.125")],
)
def test_it_writes_two_decimal_places_at_least(nano: int, text: str) -> None:
    assert written(nano) == text
