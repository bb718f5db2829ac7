"""Dollars that people write are the nano-dollars that are stored, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import money


@given(st.integers(min_value=0, max_value=10**24))
def test_it_reads_back_what_it_wrote(amount: int) -> None:
    assert money.scaled(money.decimal(amount, money.NANO_PLACES), money.NANO_PLACES) == amount
    assert money.scaled(money.exact(amount).replace(",", ""), money.NANO_PLACES) == amount


@given(st.integers(min_value=0, max_value=10**12))
def test_it_reads_back_every_multiplier(ppm: int) -> None:
    assert money.scaled(money.decimal(ppm, money.PPM_PLACES), money.PPM_PLACES) == ppm


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", 10**9),
        ("$12.34", 12_340_000_000),
        (" $ 0.1", 100_000_000),
        (".5", 500_000_000),
        ("5.", 5 * 10**9),
        ("0.000000001", 1),
        ("1234567.123456789", 1234567123456789),
    ],
)
def test_it_takes_dollars_exactly(text: str, amount: int) -> None:
    assert money.scaled(text, money.NANO_PLACES) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "$",
        "$$1",
        "-1",
        "+1",
        "1,000",
        "12,50",
        "1e3",
        "NaN",
        "Infinity",
        "1_000",
        "٣",
        "0.0000000001",
        "1.0000000000",
        "1.2.3",
        "1" * 21,
        "one",
        "1\n2",
    ],
)
def test_it_refuses_what_is_no_amount(text: str) -> None:
    with pytest.raises(money.AmountError):
        money.scaled(text, money.NANO_PLACES)


@pytest.mark.parametrize(
    ("amount", "exact", "short"),
    [
        (0, "$0.00", "$0.00"),
        (1, "$0.000000001", "<$0.0001"),
        (-1, "-$0.000000001", "-<$0.0001"),
        (100_000, "$0.0001", "$0.0001"),
        (149_999, "$0.000149999", "$0.0001"),
        (500_000_000, "$0.50", "$0.5000"),
        (999_999_999, "$0.999999999", "$1.0000"),
        (1_234_567_000_000, "$1,234.567", "$1,234.57"),
        (1_005_000_000, "$1.005", "$1.01"),
        (-2_500_000_000, "-$2.50", "-$2.50"),
    ],
)
def test_it_writes_amounts_for_people(amount: int, exact: str, short: str) -> None:
    assert money.exact(amount) == exact
    assert money.short(amount) == short
