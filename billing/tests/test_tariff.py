"""Prices in memory, and those that are shipped."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import OperationalError, connection
from django.db.models import QuerySet

from accounts.reads import DatabaseAwayError
from billing import pricefile, pricelist, tariff
from billing.models import Price
from billing.money import parsed
from billing.pricing import MOST_NANO, Charge, PriceVersion
from billing.tariff import BUILT_IN, Tariff

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ACME, OTHER = UUID(int=1), UUID(int=2)
AMOUNTS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "server_tool")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    tariff.forget()
    yield
    tariff.forget()


def flat(version: int, nano: int, **more: object) -> PriceVersion:
    fields: dict[str, object] = {"id": version, "pattern": "*", "valid_from": NOW} | more
    amounts = {f"{name}_nano": nano for name in AMOUNTS}
    return PriceVersion(**amounts, **fields)  # type: ignore[arg-type]  # fields of many types


def charged(
    prices: Tariff, *names: str, upstream: str = "box", by: UUID = OTHER, at: datetime = NOW
) -> Charge:
    return prices.charge(names, upstream=upstream, organization_id=by, at=at)


def test_it_never_leaves_a_request_without_a_price() -> None:
    assert charged(Tariff([]), "m") == Charge(price=BUILT_IN, is_known=False)
    assert charged(Tariff([]), at=datetime.min.replace(tzinfo=UTC)).price.id is None
    later = Tariff([flat(1, 5, is_default=True)])
    assert charged(later, "m").price.id == 1
    assert charged(later, "m", at=NOW - timedelta(microseconds=1)).price is BUILT_IN


def test_it_does_not_let_a_kept_choice_outlive_its_price() -> None:
    sale = flat(2, 1, valid_from=NOW + timedelta(days=1), valid_until=NOW + timedelta(days=2))
    prices = Tariff([flat(1, 5), sale])
    moments = [timedelta(0), timedelta(days=1), timedelta(days=2), timedelta(days=1), timedelta(0)]
    assert [charged(prices, "m", at=NOW + m).price.id for m in moments] == [1, 2, 1, 2, 1]


def test_it_does_not_mix_up_who_asks_for_what_and_where() -> None:
    rows = [flat(1, 5), flat(2, 4, organization_id=ACME), flat(3, 3, upstream="gpu"), flat(4, 2)]
    prices = Tariff([*rows[:3], flat(4, 2, pattern="m")])
    for _ in range(2):  # the second time from memory
        assert charged(prices, "x").price.id == 1
        assert charged(prices, "x", by=ACME).price.id == 2
        assert charged(prices, "x", upstream="gpu").price.id == 3
        assert charged(prices, "m").price.id == 4
        assert charged(prices, "y", "m").price.id == 1


def test_it_chooses_once_for_what_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = Tariff([flat(1, 5)])
    first = charged(prices, "m", "served")
    monkeypatch.setattr(tariff, "choose", None)  # whoever calls it now fails
    assert charged(prices, "m", "served", at=NOW + timedelta(days=9)) is first


def test_it_keeps_no_more_choices_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tariff, "CHOICES_IN_MEMORY", 10)
    prices = Tariff([flat(1, 5)])
    for number in range(100):
        assert charged(prices, f"made-up-{number}").price.id == 1
    assert len(prices._choices) <= 10


@pytest.mark.django_db(transaction=True)
async def test_it_reads_the_prices_once_for_all_who_ask() -> None:
    await Price.objects.all().adelete()
    made = await Price.objects.acreate(
        pattern="m", valid_from=NOW, **{f"{name}_nano": 7 for name in AMOUNTS}
    )
    first = await tariff.current()
    assert charged(first, "m").price == made.version()
    await Price.objects.acreate(
        pattern="m", valid_from=NOW + timedelta(1), **{f"{name}_nano": 8 for name in AMOUNTS}
    )
    assert await tariff.current() is first
    tariff.forget()
    later = charged(await tariff.current(), "m", at=NOW + timedelta(2))
    assert later.price.input_nano == 8
    await sync_to_async(lambda: connection.close())()


@pytest.mark.django_db(transaction=True)
async def test_it_says_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(QuerySet, "__iter__", away)
    with pytest.raises(DatabaseAwayError):
        await tariff.current()


def shipped() -> list[pricefile.Entry]:
    entries, problems = pricefile.read(pricelist.SHIPPED.read_bytes(), now=NOW)
    assert problems == []
    return entries


def test_it_ships_nothing_dearer_than_what_is_built_in() -> None:
    assert BUILT_IN.multiplier_ppm >= max(e.price.multiplier_ppm for e in shipped())
    for name in AMOUNTS:
        dearest = max(getattr(entry.price, f"{name}_nano") for entry in shipped())
        default = next(e.price for e in shipped() if e.price.is_default)
        assert getattr(default, f"{name}_nano") == dearest, "the default is the dearest in all"
        assert getattr(BUILT_IN, f"{name}_nano") > dearest


def test_it_says_of_every_shipped_price_where_it_is_from() -> None:
    assert all(entry.source for entry in shipped())


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("claude-opus-5-5", ("4", "20", "0.20", "5", "8")),
        ("claude-opus-5", ("5", "25", "0.50", "6.25", "10")),
        ("claude-opus-4-8", ("5", "25", "0.50", "6.25", "10")),
        ("claude-opus-4-5-20251101", ("5", "25", "0.50", "6.25", "10")),
        ("claude-opus-4-1-20250805", ("15", "75", "1.50", "18.75", "30")),
        ("claude-opus-4-20250514", ("15", "75", "1.50", "18.75", "30")),
        ("claude-opus-4@20250514", ("15", "75", "1.50", "18.75", "30")),
        ("claude-3-opus-20240229", ("15", "75", "1.50", "18.75", "30")),
        ("claude-sonnet-5-5", ("2", "10", "0.10", "2.50", "4")),
        ("claude-sonnet-5", ("2", "10", "0.20", "2.50", "4")),
        ("claude-sonnet-4-6", ("3", "15", "0.30", "3.75", "6")),
        ("claude-sonnet-4-20250514", ("3", "15", "0.30", "3.75", "6")),
        ("claude-3-5-sonnet-20241022", ("3", "15", "0.30", "3.75", "6")),
        ("claude-haiku-5-5", ("0.10", "0.50", "0.01", "0.125", "0.20")),
        ("claude-haiku-4-5-20251001", ("1", "5", "0.10", "1.25", "2")),
        ("claude-3-5-haiku-latest", ("0.80", "4", "0.08", "1", "1.60")),
        ("claude-3-haiku-20240307", ("0.25", "1.25", "0.03", "0.30", "0.50")),
        ("claude-fable-5-2", ("10", "50", "1", "12.50", "20")),
        ("claude-fable-5-1", ("10", "50", "0.25", "12.50", "20")),
        ("gpt-4o", ("2.50", "10", "1.25", "2.50", "2.50")),
        ("gpt-4o-mini-2024-07-18", ("0.15", "0.60", "0.075", "0.15", "0.15")),
        ("gpt-5-nano", ("0.05", "0.40", "0.005", "0.05", "0.05")),
    ],
)
def test_it_ships_the_list_price_of(model: str, dollars: tuple[str, ...]) -> None:
    charge = charged(Tariff([entry.price for entry in shipped()]), model)
    amounts = [getattr(charge.price, f"{name}_nano") for name in AMOUNTS[:5]]
    wanted = [parsed(text, 9, MOST_NANO) for text in dollars]
    assert (amounts, charge.is_known) == (wanted, True)


@pytest.mark.parametrize("model", ["qwen3-coder:30b", "llama3.2", "gpt-5.5", "my-claude-opus"])
def test_it_ships_no_price_for_what_it_does_not_know(model: str) -> None:
    charge = charged(Tariff([entry.price for entry in shipped()]), model)
    assert (charge.is_known, charge.price.is_default) == (False, True)


def test_it_ships_a_price_of_nothing_for_the_demo_alone() -> None:
    prices = Tariff([entry.price for entry in shipped()])
    assert charged(prices, "claude-opus-5-5", upstream="demo").price.output_nano == 0
    free = [e.price.upstream for e in shipped() if e.price.output_nano == 0]
    assert free == ["demo"]


@pytest.mark.django_db
def test_it_puts_the_shipped_prices_into_a_new_database() -> None:
    Price.objects.all().delete()
    import_module("billing.migrations.0005_list_prices").seed(apps, None)
    shown = pricefile.text_of((entry.price, entry.source) for entry in shipped())
    rows = Price.objects.order_by("id")
    assert pricefile.text_of((row.version(), row.source) for row in rows) == shown
    again = pricelist.imported(pricelist.SHIPPED.read_bytes(), "system")
    assert {change.what for change in again} == {"unchanged"}
