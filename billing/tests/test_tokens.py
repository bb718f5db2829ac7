"""What an answer is taken to have used, whatever its upstream says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import tokens
from billing.tokens import MOST_PLAUSIBLE, TokenCounts


def settled(usage: dict[str, Any], *, whole: bool = True, seen: int = 50) -> tuple[Any, ...]:
    found = tokens.settled(usage, expected_input=100, seen_output=seen, is_whole=whole)
    return found.counts.input_tokens, found.counts.output_tokens, " ".join(found.flags)


FINE = {"input_tokens": 7, "output_tokens": 9}


@pytest.mark.parametrize(
    ("usage", "whole", "comes_to"),
    [
        (FINE, True, (7, 9, "")),
        ({"input_tokens": 7, "output_tokens": 1}, False, (7, 50, "partial")),
        ({"input_tokens": 7, "output_tokens": 90}, False, (7, 90, "partial")),
        ({}, True, (100, 50, "uncounted")),
        ({}, False, (100, 50, "partial")),
        ({"input_tokens": 7}, True, (7, 50, "uncounted")),
        ({"output_tokens": 9}, True, (100, 9, "uncounted")),
        ({"service_tier": "standard"}, True, (100, 50, "uncounted")),
        ({"input_tokens": -7, "output_tokens": 9}, True, (100, 9, "clamped")),
        ({"input_tokens": 7, "output_tokens": -9}, True, (7, 50, "clamped")),
        ({"input_tokens": 7, "output_tokens": MOST_PLAUSIBLE + 1}, True, (7, 50, "clamped")),
        ({"input_tokens": 7.5, "output_tokens": True}, True, (100, 50, "clamped")),
        ({"input_tokens": "7", "output_tokens": None}, True, (100, 50, "clamped uncounted")),
        (
            {"input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": 2**70},
            True,
            (7, 9, "clamped"),
        ),
    ],
)
def test_it_counts_itself_what_cannot_be(
    usage: dict[str, Any], whole: bool, comes_to: tuple[Any, ...]
) -> None:
    assert settled(usage, whole=whole) == comes_to


def test_it_knows_nothing_of_an_answer_that_never_began() -> None:
    assert settled({}, whole=False, seen=0) == (0, 0, "")


def test_it_charges_the_input_of_whoever_left_before_the_first_byte() -> None:
    found = tokens.settled(
        {}, expected_input=100, seen_output=0, is_whole=False, has_final=False, was_left=True
    )
    assert (found.counts, found.flags) == (TokenCounts(input_tokens=100), ("left",))
    assert found.estimated


def test_it_takes_no_first_count_for_the_last() -> None:
    found = tokens.settled(
        {"input_tokens": 7, "output_tokens": 1},
        expected_input=100,
        seen_output=600,
        is_whole=True,
        has_final=False,
    )
    assert (found.counts.output_tokens, found.flags) == (600, ("uncounted",))


def test_it_takes_the_larger_of_two_counts_of_what_was_written_to_a_cache() -> None:
    split = {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}
    usage = {"cache_creation_input_tokens": 1000, "cache_creation": split}
    counts = TokenCounts.of(usage)
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (998, 2)


def test_it_names_what_cannot_be_inside_too() -> None:
    usage = {
        "cache_creation": {"ephemeral_5m_input_tokens": -1, "ephemeral_1h_input_tokens": 4},
        "server_tool_use": {"web_search_requests": 1_001},
    }
    assert tokens.faults(usage) == (
        "cache_creation.ephemeral_5m_input_tokens",
        "server_tool_use.web_search_requests",
    )
    found = tokens.settled(usage, expected_input=0, seen_output=0, is_whole=True)
    assert found.counts == TokenCounts(cache_write_1h_tokens=4)
    assert "clamped" in found.flags


def test_it_counts_for_limits_what_is_new_work() -> None:
    counts = TokenCounts(
        input_tokens=1,
        output_tokens=2,
        cache_read_tokens=1000,
        cache_write_5m_tokens=4,
        cache_write_1h_tokens=8,
    )
    assert counts.counted == 15
    assert not TokenCounts(cache_read_tokens=1).is_empty
    assert TokenCounts().is_empty


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))
USAGE = st.dictionaries(
    st.sampled_from(
        ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]
    ),
    VALUES,
)


@given(USAGE, st.booleans(), st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_it_never_comes_to_more_than_can_be(
    usage: dict[str, Any], whole: bool, inside: dict[str, Any]
) -> None:
    odd = usage | {"cache_creation": inside, "server_tool_use": inside}
    found = tokens.settled(odd, expected_input=5, seen_output=6, is_whole=whole)
    for name in TokenCounts.__slots__:
        assert 0 <= getattr(found.counts, name) <= 3 * MOST_PLAUSIBLE
    assert found.estimated == bool(found.flags)
