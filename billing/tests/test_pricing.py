"""What usage costs: worked examples, and what holds for all of them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.patterns import matches
from billing.pricing import MOST_COST_NANO, UNIT_PPM, PriceVersion, choose
from billing.tokens import TokenCounts

GOLDEN = json.loads(Path(__file__).with_name("golden_prices.json").read_text(encoding="utf-8"))
ORGANIZATIONS = {"acme": UUID(int=1), "other": UUID(int=2)}
START = datetime(2026, 1, 1, tzinfo=UTC)


def price(amounts: Mapping[str, int], **more: Any) -> PriceVersion:
    fields: dict[str, Any] = {f"{name}_nano": 0 for name in GOLDEN["prices"]["nothing"]}
    fields |= {f"{name}_nano": amount for name, amount in amounts.items()}
    return PriceVersion(**fields | {"id": 1, "pattern": "*", "valid_from": START} | more)


def named(case: Mapping[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", GOLDEN["costs"], ids=named)
def test_it_charges_what_was_worked_out_by_hand(case: Mapping[str, Any]) -> None:
    version = price(
        GOLDEN["prices"][case["price"]], multiplier_ppm=case.get("multiplier_ppm", UNIT_PPM)
    )
    assert version.cost(TokenCounts.of(case["usage"])) == case["nano"]


def table() -> dict[str, PriceVersion]:
    versions = {}
    for number, row in enumerate(GOLDEN["table"]):
        until = row.get("valid_until")
        versions[row["label"]] = price(
            {"input": row["input"]},
            id=number,
            pattern=row["pattern"],
            upstream=row.get("upstream", ""),
            organization_id=ORGANIZATIONS.get(row.get("organization", "")),
            is_default=row.get("is_default", False),
            valid_from=datetime.fromisoformat(row["valid_from"]),
            valid_until=datetime.fromisoformat(until) if until else None,
        )
    return versions


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", GOLDEN["choices"], ids=named)
def test_it_chooses_the_price_that_was_worked_out_by_hand(
    case: Mapping[str, Any], turned: bool
) -> None:
    versions = table()
    labels = {version.id: label for label, version in versions.items()}
    rows = list(versions.values())
    charge = choose(
        rows[::-1] if turned else rows,
        case["names"],
        upstream=case["upstream"],
        organization_id=ORGANIZATIONS[case["organization"]],
        at=datetime.fromisoformat(case["at"]),
    )
    if case["want"] is None:
        assert charge is None
        return
    assert charge is not None
    assert (labels[charge.price.id], charge.is_known) == (case["want"], case["is_known"])
    assert charge.price.cost(TokenCounts(input_tokens=1000)) == case["nano"]


amounts = st.integers(0, 10**11)
prices = st.builds(
    PriceVersion,
    id=st.none(),
    pattern=st.just("*"),
    input_nano=amounts,
    output_nano=amounts,
    cache_read_nano=amounts,
    cache_write_5m_nano=amounts,
    cache_write_1h_nano=amounts,
    server_tool_nano=st.integers(0, 10**9),
    multiplier_ppm=st.integers(0, 3 * UNIT_PPM),
    valid_from=st.just(START),
)
CLASSES = (
    *("input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_5m_tokens", "cache_write_1h_tokens", "server_tool_uses"),
)
usages = st.fixed_dictionaries({name: st.integers(0, 10**6) for name in CLASSES})


def added(one: Mapping[str, int], other: Mapping[str, int]) -> TokenCounts:
    return TokenCounts(**{name: one[name] + other[name] for name in CLASSES})


@given(prices, usages, usages)
def test_it_costs_together_what_it_costs_apart_but_for_rounding(
    version: PriceVersion, one: Mapping[str, int], other: Mapping[str, int]
) -> None:
    apart = version.cost(TokenCounts(**one)) + version.cost(TokenCounts(**other))
    assert abs(version.cost(added(one, other)) - apart) <= 1


@given(prices, usages, usages)
def test_it_never_costs_less_to_use_more(
    version: PriceVersion, one: Mapping[str, int], more: Mapping[str, int]
) -> None:
    assert 0 <= version.cost(TokenCounts(**one)) <= version.cost(added(one, more))


@given(prices, usages, st.integers(0, UNIT_PPM))
def test_it_never_costs_less_by_a_dearer_multiplier(
    version: PriceVersion, usage: Mapping[str, int], more: int
) -> None:
    dearer = replace(version, multiplier_ppm=version.multiplier_ppm + more)
    assert version.cost(TokenCounts(**usage)) <= dearer.cost(TokenCounts(**usage))


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**15), st.integers(0, 10**9))
def test_it_fits_its_column_whatever_was_counted(tokens: int, nano: int, multiplier: int) -> None:
    version = price({"output": nano, "server_tool": nano}, multiplier_ppm=multiplier)
    cost = version.cost(TokenCounts(output_tokens=tokens, server_tool_uses=tokens))
    assert 0 <= cost <= MOST_COST_NANO < 2**63


rows = st.builds(
    PriceVersion,
    id=st.integers(1, 10**6),
    pattern=st.sampled_from(["*", "a*", "ab", "ab*", "b", "*b"]),
    input_nano=amounts,
    output_nano=amounts,
    cache_read_nano=amounts,
    cache_write_5m_nano=amounts,
    cache_write_1h_nano=amounts,
    upstream=st.sampled_from(["", "here", "there"]),
    organization_id=st.sampled_from([None, *ORGANIZATIONS.values()]),
    is_default=st.booleans(),
    valid_from=st.integers(0, 5).map(lambda day: START + timedelta(days=day)),
    valid_until=st.none() | st.integers(6, 9).map(lambda day: START + timedelta(days=day)),
)
names = st.lists(st.sampled_from(["ab", "b", "ac", "zz", ""]), max_size=2)


@given(
    st.lists(rows, max_size=8, unique_by=lambda row: row.id),
    names,
    st.integers(0, 10).map(lambda day: START + timedelta(days=day)),
    st.randoms(use_true_random=False),
)
def test_it_chooses_the_same_in_whatever_order_and_nothing_that_does_not_fit(
    versions: list[PriceVersion], asked: list[str], at: datetime, chance: Any
) -> None:
    where: dict[str, Any] = {"upstream": "here", "organization_id": ORGANIZATIONS["acme"], "at": at}
    charge = choose(versions, asked, **where)
    mixed = list(versions)
    chance.shuffle(mixed)
    assert choose(mixed, asked, **where) == charge
    if charge is None:
        return
    chosen = charge.price
    assert chosen.is_valid(at)
    assert chosen.upstream in {"", "here"}
    assert chosen.organization_id in {None, ORGANIZATIONS["acme"]}
    assert chosen.is_default is not charge.is_known
    assert any(matches(chosen.pattern, name) for name in asked or [""])
    # Of all that fit as well, none is nearer to the caller.
    rivals = [
        row
        for row in versions
        if row.is_valid(at)
        and (row.upstream, row.organization_id) == ("here", ORGANIZATIONS["acme"])
        and row.is_default is chosen.is_default
        and any(matches(row.pattern, name) for name in asked[:1])
    ]
    if rivals and matches(chosen.pattern, asked[0]) and (asked[0] or chosen.is_default):
        assert (chosen.upstream, chosen.organization_id) == ("here", ORGANIZATIONS["acme"])
