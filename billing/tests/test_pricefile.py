"""A tariff with a typo is refused, and every mistake in it is named."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import pricefile
from billing.pricefile import PriceListError

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
RIGHT = {"pattern": "m", "input": "3.00", "output": "15.00"}


def problems(*entries: object) -> list[str]:
    return pricefile.read(json.dumps(entries).encode(), now=NOW)[1]


def refused(text: bytes) -> str:
    with pytest.raises(PriceListError) as error:
        pricefile.read(text, now=NOW)
    return str(error.value)


def test_it_reads_what_is_said_and_derives_what_is_not() -> None:
    entries, wrong = pricefile.read(json.dumps([RIGHT]).encode(), now=NOW)
    assert wrong == []
    price = entries[0].price
    assert (price.input_nano, price.output_nano) == (3_000_000_000, 15_000_000_000)
    assert price.cache_read_nano == 300_000_000
    assert (price.cache_write_5m_nano, price.cache_write_1h_nano) == (3_750_000_000, 6_000_000_000)
    assert (price.server_tool_nano, price.multiplier_ppm) == (0, 1_000_000)
    assert (price.upstream, price.organization_id, price.is_default) == ("", None, False)
    assert (price.valid_from, price.valid_until) == (NOW, None)


def test_it_reads_every_field() -> None:
    everything = RIGHT | {
        "upstream": "box",
        "organization": "00000000-0000-0000-0000-000000000001",
        "cache_read": "0",
        "cache_write_5m": 0.1,
        "cache_write_1h": 1e-3,
        "server_tool": "0.01",
        "multiplier": "1.2",
        "valid_from": "2026-01-01T01:00:00+01:00",
        "valid_until": "2027-01-01T00:00:00Z",
        "is_default": True,
        "source": "a contract",
    }
    (entry,), wrong = pricefile.read(json.dumps({"prices": [everything]}).encode(), now=NOW)
    assert wrong == []
    price = entry.price
    assert (price.cache_read_nano, price.cache_write_5m_nano) == (0, 100_000_000)
    assert (price.cache_write_1h_nano, price.server_tool_nano) == (1_000_000, 10_000_000)
    assert (price.multiplier_ppm, price.upstream, price.is_default) == (1_200_000, "box", True)
    assert str(price.organization_id) == everything["organization"]
    assert price.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert price.valid_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert entry.source == "a contract"


def test_it_takes_a_number_as_it_is_written_and_not_as_a_float() -> None:
    text = b'[{"pattern": "m", "input": 0.000000003, "output": 123456.123456789}]'
    (entry,), _ = pricefile.read(text, now=NOW)
    assert (entry.price.input_nano, entry.price.output_nano) == (3, 123_456_123_456_789)


def test_it_rounds_up_what_it_derives() -> None:
    (entry,), _ = pricefile.read(json.dumps([RIGHT | {"input": "0.000000001"}]).encode(), now=NOW)
    derived = entry.price.cache_read_nano, entry.price.cache_write_5m_nano
    assert (*derived, entry.price.cache_write_1h_nano) == (1, 2, 2)


def test_it_names_the_misspelt_field_its_entry_and_those_there_are() -> None:
    typo = {"pattern": "claude-*", "input": "3.00", "ouput": "15.00"}
    assert problems(RIGHT, typo) == [
        "Entry 2 ('claude-*'): there is no 'ouput'; the fields are "
        + ", ".join(pricefile.FIELDS)
        + ".",
        "Entry 2 ('claude-*'): output is missing.",
    ]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"input": "-1"}, "input must not be negative."),
        ({"output": -0.5}, "output must not be negative."),
        ({"input": "NaN"}, 'input must be a decimal number like "3.00".'),
        ({"input": "3,00"}, 'input must be a decimal number like "3.00".'),
        ({"input": None}, 'input must be a decimal number like "3.00".'),
        ({"input": True}, 'input must be a decimal number like "3.00".'),
        ({"input": ["3"]}, 'input must be a decimal number like "3.00".'),
        ({"input": float("nan")}, 'input must be a decimal number like "3.00".'),
        ({"input": float("inf")}, 'input must be a decimal number like "3.00".'),
        ({"cache_read": "0.0000000001"}, "cache_read has more than 9 decimal places."),
        ({"server_tool": "1000001"}, "server_tool must not be more than 1000000.00."),
        ({"multiplier": "1.2000001"}, "multiplier has more than 6 decimal places."),
        ({"multiplier": "1001"}, "multiplier must not be more than 1000.00."),
        ({"input": "600000"}, "a cache write costs more than 1000000.00; say what it costs."),
        ({"pattern": ""}, "pattern must be a text in one line, of 1 to 256 characters."),
        ({"pattern": 7}, "pattern must be a text in one line, of 1 to 256 characters."),
        ({"pattern": "a\nb"}, "pattern must be a text in one line, of 1 to 256 characters."),
        ({"pattern": "m\0"}, "pattern must be a text in one line, of 1 to 256 characters."),
        ({"pattern": "m" * 257}, "pattern must be a text in one line, of 1 to 256 characters."),
        ({"pattern": "m "}, "pattern must not begin or end with a blank."),
        ({"upstream": "u" * 51}, "upstream must be a text in one line, of 0 to 50 characters."),
        ({"source": "s" * 201}, "source must be a text in one line, of 0 to 200 characters."),
        ({"organization": "acme"}, "organization must be an organization's id, or null."),
        ({"organization": 1}, "organization must be an organization's id, or null."),
        ({"is_default": "yes"}, "is_default must be true or false."),
        ({"is_default": 1}, "is_default must be true or false."),
        ({"valid_from": "soon"}, 'valid_from must be a moment like "2026-01-31T00:00:00Z".'),
        ({"valid_from": 2026}, 'valid_from must be a moment like "2026-01-31T00:00:00Z".'),
        (
            {"valid_from": "2026-01-31"},
            'valid_from must say its zone, like "2026-01-31T00:00:00Z".',
        ),
        ({"valid_from": "0202-01-01T00:00:00Z"}, "valid_from must be in the years 2000 to 2099."),
        (
            {"valid_until": "9999-12-31T23:59:59-14:00"},
            "valid_until must be in the years 2000 to 2099.",
        ),
        ({"valid_until": "2026-11-01T12:00:00Z"}, "valid_until must be after valid_from."),
    ],
)
def test_it_refuses(wrong: dict[str, Any], says: str) -> None:
    found = problems(RIGHT | wrong)
    assert len(found) == 1
    assert found[0].startswith("Entry 1")
    assert found[0].endswith(f": {says}")


def test_it_names_every_mistake_at_once() -> None:
    found = problems({"pattern": "a", "input": "-1", "output": "x", "price": "3"}, 7, {}, RIGHT)
    assert [text.split(": ")[0] for text in found] == ["Entry 1 ('a')"] * 3 + ["Entry 2"] + [
        "Entry 3"
    ] * 3


def test_it_refuses_what_stands_there_twice() -> None:
    text = b'[{"pattern": "m", "input": "3", "input": "4", "output": "15"}]'
    assert pricefile.read(text, now=NOW)[1] == ["Entry 1 ('m'): input stands there twice."]
    entries, found = pricefile.read(json.dumps([RIGHT, RIGHT | {"input": "4"}]).encode(), now=NOW)
    assert entries == []
    assert found == [
        f"Entry {number} ('m'): it stands there 2 times for the same moment." for number in (1, 2)
    ]
    elsewhere = RIGHT | {"upstream": "box"}
    later = RIGHT | {"valid_from": "2027-01-01T00:00:00Z"}
    assert problems(RIGHT, elsewhere, later, RIGHT | {"is_default": True}) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "The file is not JSON: Expecting property name enclosed in double quotes, line 1"),
        (b"\xff", "The file is not JSON."),
        (b"[" * 100_000, "The file is not JSON."),
        (b'{"price": []}', 'The file must be a list of prices, or {"prices": […]} alone.'),
        (b'{"prices": [], "prices": []}', "The file must be a list of prices"),
        (b'{"prices": {}}', "The file must be a list of prices"),
        (b"7", "The file must be a list of prices"),
        (b" " * (pricefile.MAX_BYTES + 1), "The file is larger than 4194304 bytes."),
        (b"[" + b"7," * 10_000 + b"7]", "10001 prices are more than 10000."),
    ],
)
def test_it_refuses_what_is_no_list_of_prices(text: bytes, says: str) -> None:
    assert refused(text).startswith(says)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(pricefile.FIELDS) | st.text()
    return st.lists(inner) | st.dictionaries(keys, inner)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), nested))
def test_it_has_an_answer_to_everything(found: Any) -> None:
    entries, wrong = pricefile.read(json.dumps([found, RIGHT]).encode(), now=NOW)
    assert [entry.number for entry in entries][-1:] == [2]
    assert len(entries) == 2 or wrong
