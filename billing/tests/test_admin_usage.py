"""The page of usage: ranges, groups, sums, bars, and nothing that strangers wrote as HTML."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from accounts.tests.people import Person, alice, charlie
from billing.admin import usage_query
from billing.admin.usage import bars
from billing.admin.usage_form import days
from billing.admin.usage_query import GROUPS, Line
from billing.models import UsageRollup
from billing.tests.admin import DOLLAR, ESCAPED, HTML, operator, staff

__all__ = ["alice", "charlie", "operator"]

USAGE = "/admin/billing/usage/"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page of this file is of one day."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def rollup(person: Person, day: str = "2026-11-25", **fields: Any) -> UsageRollup:
    values: dict[str, Any] = {
        "kind": "day",
        "starts_at": datetime.fromisoformat(f"{day}T00:00:00+00:00"),
        "organization": person.organization,
        "user_id": person.user.pk,
        "model": "claude-opus-4-1",
        "requests": 1,
        "input_tokens": 10,
        "cost_nano": DOLLAR,
    }
    return UsageRollup.objects.create(**values | fields)


def table(client: Client, **asked: Any) -> dict[str, list[str]]:
    page = client.get(USAGE, asked)
    assert page.status_code == 200
    return dict(page.context["lines"])


@pytest.mark.parametrize(
    ("chosen", "first", "last"),
    [
        ("today", date(2026, 3, 1), date(2026, 3, 1)),
        ("7d", date(2026, 2, 23), date(2026, 3, 1)),
        ("month", date(2026, 3, 1), date(2026, 3, 1)),
        ("last", date(2026, 2, 1), date(2026, 2, 28)),
    ],
)
def test_it_knows_the_days_of_a_range(chosen: str, first: date, last: date) -> None:
    assert days({"range": chosen}, date(2026, 3, 1)) == (first, last)


def test_it_sums_days_and_all_of_them(operator: Client, alice: Person, charlie: Person) -> None:
    rollup(alice, requests=2, failed=1, output_tokens=1234, cache_write_1h_tokens=7)
    rollup(charlie, model="qwen")
    rollup(alice, "2026-11-19")
    rollup(alice, "2026-11-18")  # eight days ago
    page = operator.get(USAGE)
    lines = dict(page.context["lines"])
    assert list(lines) == ["2026-11-25", "2026-11-19"]
    assert lines["2026-11-25"] == ["$2.00", "3", "1", "20", "1,234", "0", "0", "7", "0"]
    assert page.context["sums"][:2] == ["$3.00", "4"]


def test_it_groups_by_what_people_call_things(
    operator: Client, alice: Person, charlie: Person
) -> None:
    key, _ = alice.key()
    rollup(alice, api_key_id=key.pk)
    rollup(charlie, model="qwen", cost_nano=5 * DOLLAR, user_id=987654)
    rollup(alice, kind="tag", label="ci", cost_nano=DOLLAR // 2)
    assert list(table(operator, group="model")) == ["qwen", "claude-opus-4-1"]
    assert list(table(operator, group="user")) == ["987654", "alice"]
    assert list(table(operator, group="organization")) == ["Other", "Acme"]
    assert list(table(operator, group="key")) == ["(none)", str(key)]
    assert {name: cells[0] for name, cells in table(operator, group="tag").items()} == {
        "ci": "$0.5000"
    }


def test_it_sums_all_requests_and_not_all_tags(operator: Client, alice: Person) -> None:
    rollup(alice)
    for label in ("ci", "nightly"):
        rollup(alice, kind="tag", label=label)
    page = operator.get(USAGE, {"group": "tag"})
    assert page.context["sums"][0] == "$1.00"
    assert "is in two rows" in page.content.decode()


def test_it_shows_one_organization(operator: Client, alice: Person, charlie: Person) -> None:
    rollup(alice)
    rollup(charlie)
    asked = {"group": "user", "organization": str(alice.organization.pk)}
    assert list(table(operator, **asked)) == ["alice"]


def test_it_shows_the_days_that_were_chosen(operator: Client, alice: Person) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"):
        rollup(alice, day)
    asked = {"range": "custom", "first": "2026-01-02", "last": "2026-01-03"}
    assert list(table(operator, **asked)) == ["2026-01-03", "2026-01-02"]
    assert list(table(operator, range="today")) == []


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("range", {"range": "ever"}),
        ("group", {"group": "cost_nano"}),
        ("organization", {"organization": "nobody"}),
        ("organization", {"organization": "00000000-0000-0000-0000-000000000000"}),
        ("first", {"range": "custom", "last": "2026-01-01"}),
        ("last", {"range": "custom", "first": "2026-01-01"}),
        ("last", {"range": "custom", "first": "2026-01-02", "last": "2026-01-01"}),
        ("last", {"range": "custom", "first": "2025-01-01", "last": "2026-01-02"}),
        ("first", {"range": "custom", "first": HTML, "last": "2026-01-01"}),
    ],
)
def test_it_says_what_is_wrong_with_a_question(
    operator: Client, field: str, asked: dict[str, str]
) -> None:
    page = operator.get(USAGE, asked)
    assert page.status_code == 200
    assert list(page.context["form"].errors) == [field]
    assert "lines" not in page.context
    assert HTML not in page.content.decode()


def test_it_says_what_to_do_where_nothing_was_used(operator: Client) -> None:
    page = operator.get(USAGE).content.decode()
    assert "Nothing was used from 2026-11-19 to 2026-11-25 (UTC)." in page
    assert 'href="/"' in page


def test_it_says_when_there_is_more_than_it_shows(operator: Client, alice: Person) -> None:
    for number in range(201):
        rollup(alice, model=f"m{number}", cost_nano=number)
    page = operator.get(USAGE, {"group": "model"})
    assert len(page.context["lines"]) == 200
    assert "Only the 200 that cost most are shown." in page.content.decode()
    assert page.context["sums"][1] == "201"


def test_it_shows_what_strangers_wrote_as_text(operator: Client, alice: Person) -> None:
    rollup(alice, model=HTML)
    rollup(alice, kind="tag", label=HTML)
    Organization.objects.update(name=HTML)
    for group in ("model", "tag", "organization"):
        text = operator.get(USAGE, {"group": group}).content.decode()
        assert HTML not in text
        assert ESCAPED in text


def test_it_is_for_those_who_may_see_the_sums(alice: Person) -> None:
    rollup(alice)
    assert staff("view_usagerollup").get(USAGE).status_code == 200


@pytest.mark.parametrize(
    ("group", "queries"),
    # Session, user, days, the sums and alarms; the groups; the names.
    [("day", 5), ("model", 6), ("tag", 6), ("user", 7), ("organization", 7), ("key", 7)],
)
def test_it_asks_as_often_for_much_as_for_little(
    operator: Client,
    alice: Person,
    group: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    rollup(alice, "2026-11-24")
    operator.get(USAGE, {"group": group})
    for round_ in range(2):
        for number in range(10):
            rollup(alice, model=f"{round_}-{number}", user_id=number, api_key_id=str(number))
        with django_assert_num_queries(queries):
            assert operator.get(USAGE, {"group": group}).status_code == 200


def test_it_draws_a_bar_for_each_day_and_none_below_nothing() -> None:
    first, last = date(2026, 11, 1), date(2026, 11, 4)
    sums = {1: 4 * DOLLAR, 2: -DOLLAR, 4: DOLLAR}
    by_day = [
        Line(group=datetime(2026, 11, day, tzinfo=UTC), cost_nano=cost, requests=1)
        for day, cost in sums.items()
    ]
    drawn = bars(by_day, first, last)
    assert (drawn["what"], drawn["most"]) == ("Cost", "$4.00")
    assert [bar["percent"] for bar in drawn["each"]] == [100, 0, 0, 25]
    assert [bar["text"] for bar in drawn["each"]] == ["$4.00", "-$1.00", "$0.00", "$1.00"]


def test_it_draws_requests_where_nothing_has_a_cost() -> None:
    day = date(2026, 11, 1)
    by_day = [Line(group=datetime(2026, 11, 1, tzinfo=UTC), requests=3)]
    assert bars(by_day, day, day + timedelta(days=1))["most"] == "3 requests"
    assert bars([], day, day)["each"][0]["percent"] == 0


def test_it_groups_by_nothing_else() -> None:
    columns = {field.attname for field in UsageRollup._meta.concrete_fields}
    assert set(GROUPS.values()) <= columns
    assert set(usage_query.SUMMED) <= columns
