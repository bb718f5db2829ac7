"""Prices come in as new versions, and go out so that they can come in again."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import AuditEntry, Organization
from billing import pricelist
from billing.models import Price
from billing.pricefile import PriceListError

pytestmark = pytest.mark.django_db

OLD = {"pattern": "m", "input": "3.00", "output": "15.00", "valid_from": "2026-01-01T00:00:00Z"}
NEW = {"pattern": "m", "input": "2.00", "output": "10.00"}


@pytest.fixture(autouse=True)
def empty(db: None) -> Iterator[None]:
    Price.objects.all().delete()
    yield


def imported(*entries: dict[str, Any], **more: bool) -> list[str]:
    """What became of each entry."""
    text = json.dumps(entries).encode()
    return [change.what for change in pricelist.imported(text, "system", **more)]


def problems(*entries: dict[str, Any]) -> list[str]:
    rows, lines = Price.objects.count(), AuditEntry.objects.count()
    with pytest.raises(PriceListError) as refused:
        imported(*entries)
    assert (Price.objects.count(), AuditEntry.objects.count()) == (rows, lines)
    return refused.value.problems


def inputs() -> list[int]:
    return list(Price.objects.order_by("valid_from").values_list("input_nano", flat=True))


def test_it_changes_nothing_the_second_time() -> None:
    both = (OLD, NEW | {"pattern": "n"})
    assert imported(*both) == ["created", "created"]
    lines = AuditEntry.objects.count()
    assert imported(*both) == ["unchanged", "unchanged"]
    assert (Price.objects.count(), AuditEntry.objects.count()) == (2, lines)


def test_it_adds_a_version_and_leaves_the_former_as_it_was() -> None:
    imported(OLD)
    former = Price.objects.get()
    assert imported(NEW) == ["changed"]
    assert inputs() == [3_000_000_000, 2_000_000_000]
    again = Price.objects.get(pk=former.pk)
    assert again.version() == former.version()
    assert Price.objects.latest("valid_from").created_at is not None


def test_it_takes_one_moment_for_the_whole_file() -> None:
    imported(NEW, NEW | {"pattern": "n"}, NEW | {"pattern": "o"})
    assert len(set(Price.objects.values_list("valid_from", flat=True))) == 1


def test_it_recognizes_a_history_in_whatever_order_it_stands() -> None:
    later = NEW | {"valid_from": "2026-03-01T00:00:00Z"}
    sale = OLD | {
        "input": "1.00",
        "valid_from": "2026-04-01T00:00:00Z",
        "valid_until": "2026-05-01T00:00:00Z",
    }
    assert imported(sale, later, OLD) == ["changed", "changed", "created"]
    assert imported(OLD, sale, later) == ["unchanged"] * 3
    between = OLD | {"valid_from": "2026-02-01T00:00:00Z"}
    assert imported(between) == ["unchanged"]
    assert imported(sale | {"valid_from": "2026-04-10T00:00:00Z"}) == ["unchanged"]


def test_it_takes_the_same_figures_with_an_end_for_another_price() -> None:
    imported(OLD)
    assert imported(OLD | {"valid_from": "2026-02-01T00:00:00Z"}) == ["unchanged"]
    ending = OLD | {"valid_from": "2026-02-01T00:00:00Z", "valid_until": "2026-03-01T00:00:00Z"}
    assert imported(ending) == ["changed"]


def test_it_loses_to_another_import_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    save = pricelist._save

    def too_late(changes: Any, actor: str) -> None:
        save(changes, "the other")  # as if it had come in between
        save(changes, actor)

    monkeypatch.setattr(pricelist, "_save", too_late)
    assert problems(OLD) == ["Somebody else added such a price just now: run it again."]


def test_it_never_edits_a_price_that_is_there() -> None:
    imported(OLD)
    assert problems(OLD | {"input": "2.00"}) == [
        "Entry 1 ('m'): there is another price for the same from 2026-01-01T00:00:00Z on, and a"
        " price is never edited: say a later valid_from, or leave it out for now."
    ]


def test_it_imports_nothing_when_anything_is_wrong() -> None:
    stranger = NEW | {"organization": str(uuid.UUID(int=7))}
    found = problems(OLD, NEW | {"pattern": "n", "ouput": "1"}, stranger)
    assert [text.split(": ")[0] for text in found] == ["Entry 2 ('n')", "Entry 3 ('m')"]
    assert found[1].endswith(f"there is no organization {uuid.UUID(int=7)}.")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"input": "30.00", "output": "15.00"},
            "input, cache_read, cache_write_5m, cache_write_1h",
        ),
        ({"input": "3.00", "output": "1.50"}, "output"),
        ({"input": "3.00", "output": "0"}, "output"),
        ({"input": "3.00", "output": "15.00", "server_tool": "0.01"}, "server_tool"),
        (
            {"input": "3.00", "output": "15.00", "multiplier": "10"},
            "input, output, cache_read, cache_write_5m, cache_write_1h",
        ),
    ],
)
def test_it_wants_to_be_told_twice_that_a_decimal_point_moved(
    changed: dict[str, str], named: str
) -> None:
    imported(OLD)
    former = Price.objects.get()
    assert problems({"pattern": "m"} | changed) == [
        f"Entry 1 ('m'): {named} would be 10 times dearer or cheaper, or more, than version"
        f" {former.pk} in force then; if it is meant, say --force."
    ]
    assert imported({"pattern": "m"} | changed, force=True) == ["changed"]


def test_it_takes_a_change_that_is_less_than_tenfold() -> None:
    imported(OLD)
    assert imported({"pattern": "m", "input": "29.99", "output": "1.51"}) == ["changed"]


def test_it_compares_with_what_is_in_force_and_not_with_what_was() -> None:
    imported(OLD, NEW | {"input": "0.40", "valid_from": "2026-02-01T00:00:00Z"})
    assert len(problems(NEW | {"input": "4.00"})) == 1
    assert imported(NEW | {"input": "2.00"}) == ["changed"]


def test_it_only_says_what_would_be() -> None:
    assert imported(OLD, dry_run=True) == ["created"]
    assert not Price.objects.exists()
    assert not AuditEntry.objects.exists()
    imported(OLD)
    assert len(problems(NEW | {"input": "30"})) == 1


def test_it_leaves_one_line_in_the_audit_trail() -> None:
    imported(OLD)
    former = Price.objects.get()
    imported(NEW, NEW | {"pattern": "n"})
    line = AuditEntry.objects.latest("id")
    versions = {row.pattern: row.pk for row in Price.objects.exclude(pk=former.pk)}
    assert (line.action, line.actor, line.subject) == ("prices.imported", "system", "prices")
    assert line.details == {
        "count": 2,
        "prices": [
            {"version": versions["m"], "pattern": "m", "instead_of": former.pk},
            {"version": versions["n"], "pattern": "n", "instead_of": None},
        ],
    }


def test_it_gives_out_what_it_would_take_back_unchanged() -> None:
    acme = Organization.objects.create(name="Acme")
    imported(
        OLD,
        NEW,
        NEW | {"organization": str(acme.pk), "multiplier": "0.85", "input": "1.999999999"},
        NEW | {"upstream": "box", "valid_until": "2090-01-01T00:00:00Z", "source": "a » contract"},
        NEW | {"pattern": "*", "is_default": True, "server_tool": "0.01", "cache_read": "0"},
    )
    before = [(row.version(), row.source) for row in Price.objects.order_by("id")]
    text = pricelist.exported().encode()
    changes = pricelist.imported(text, "system")
    assert [change.what for change in changes] == ["unchanged"] * 5
    Price.objects.all().delete()
    pricelist.imported(text, "system")
    assert pricelist.exported().encode() == text
    assert len(before) == Price.objects.count()


def test_it_finds_nothing_new_in_the_shipped_list_the_second_time() -> None:
    shipped = pricelist.SHIPPED.read_bytes()
    assert {change.what for change in pricelist.imported(shipped, "system")} >= {"created"}
    assert {change.what for change in pricelist.imported(shipped, "system")} == {"unchanged"}
