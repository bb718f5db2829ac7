"""Prices in the admin: versions are added, and nobody edits or deletes one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from accounts.tests.people import Person, alice
from billing.models import Price
from billing.tests.admin import DOLLAR, ESCAPED, HTML, lines, operator, price, staff, told

__all__ = ["alice", "operator"]

PRICES = "/admin/billing/price/"


@pytest.fixture(autouse=True)
def unshipped(db: None) -> None:
    """No prices but those of the test."""
    Price.objects.all().delete()


def form(**fields: Any) -> dict[str, Any]:
    values = {
        "pattern": "claude-opus-*",
        "input_nano": "5",
        "output_nano": "25.5",
        "cache_read_nano": "0.5",
        "cache_write_5m_nano": "6.25",
        "cache_write_1h_nano": "10",
        "server_tool_nano": "0.01",
        "multiplier_ppm": "1.2",
        "valid_from_0": f"{datetime.now(UTC):%Y-%m-%d}",
        "valid_from_1": f"{datetime.now(UTC):%H:%M:%S}",
    }
    return values | fields


def standings(client: Client, asked: str = "") -> dict[int, str]:
    page = client.get(f"{PRICES}?{asked}")
    changelist = page.context["cl"]
    return {row.pk: changelist.model_admin.standing(row) for row in changelist.result_list}


def test_it_adds_a_version_in_dollars(operator: Client) -> None:
    answer = operator.post(PRICES + "add/", form())
    assert answer.status_code == 302
    row = Price.objects.get()
    assert (row.input_nano, row.output_nano) == (5 * DOLLAR, 25_500_000_000)
    assert (row.server_tool_nano, row.multiplier_ppm) == (DOLLAR // 100, 1_200_000)
    page = operator.get(f"{PRICES}{row.pk}/change/").content.decode()
    assert all(text in page for text in ("$25.50", "1.2", "in force"))
    ((action, details),) = lines()
    assert action == "price.created"
    assert details["output_nano"] == 25_500_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_nano", ""),
        ("input_nano", "-1"),
        ("output_nano", "0.0000000001"),
        ("cache_read_nano", "1,5"),
        ("multiplier_ppm", "1.2345678"),
        ("multiplier_ppm", "1001"),
        ("input_nano", "1000001"),
        ("pattern", ""),
    ],
)
def test_it_refuses_a_slip_of_the_pen(operator: Client, field: str, value: str) -> None:
    answer = operator.post(PRICES + "add/", form(**{field: value}))
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not Price.objects.exists()


def test_it_refuses_two_versions_from_one_moment_on(operator: Client, alice: Person) -> None:
    for organization in ("", str(alice.organization.pk)):
        values = form(organization=organization)
        assert operator.post(PRICES + "add/", values).status_code == 302
        answer = operator.post(PRICES + "add/", values)
        assert list(answer.context["adminform"].form.errors) == ["valid_from"]
    assert Price.objects.count() == 2


def test_it_refuses_an_end_before_the_beginning(operator: Client) -> None:
    values = form(valid_until_0="2020-01-01", valid_until_1="00:00:00")
    answer = operator.post(PRICES + "add/", values)
    assert list(answer.context["adminform"].form.errors) == ["valid_until"]


def test_it_warns_of_a_version_that_begins_in_the_past(operator: Client) -> None:
    values = form(valid_from_0="2026-01-01", valid_from_1="00:00:00")
    assert "begins in the past" in told(operator.post(PRICES + "add/", values, follow=True))[0]
    assert len(told(operator.post(PRICES + "add/", form(), follow=True))) == 1


def test_it_begins_a_new_version_as_the_former_one(operator: Client, alice: Person) -> None:
    former = price("qwen*", upstream="gpu-box", organization=alice.organization, source=HTML)
    page = operator.get(f"{PRICES}{former.pk}/version/", follow=True)
    text = page.content.decode()
    assert all(f'value="{value}"' in text for value in ("qwen*", "gpu-box", "3", "0.1", "1"))
    assert str(alice.organization) in text
    assert HTML not in text
    assert f"{datetime.now(UTC):%Y-%m-%d}" in text


@pytest.mark.parametrize("version", ["999", "abc", "", "1; --", "٣"])
def test_it_begins_empty_without_a_former_one(operator: Client, version: str) -> None:
    assert operator.get(PRICES + "add/", {"version": version}).status_code == 200


def test_it_takes_no_forged_change_of_a_price(operator: Client) -> None:
    row = price("claude-*")
    before = Price.objects.values().get()
    page = f"{PRICES}{row.pk}/"
    answers = [
        operator.post(page + "change/", form(input_nano="0", _save="Save")),
        operator.post(page + "delete/", {"post": "yes"}),
    ]
    assert [answer.status_code for answer in answers] == [403, 403]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    operator.post(PRICES, chosen)
    edited = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": row.pk, "_save": "Save"}
    operator.post(PRICES, edited | {"form-0-input_nano": "0"})
    assert Price.objects.values().get() == before
    assert lines() == []


def test_it_adds_nothing_for_those_who_may_only_look(db: None) -> None:
    row = price("claude-*")
    client = staff("view_price")
    assert client.post(PRICES + "add/", form()).status_code == 403
    assert client.get(f"{PRICES}{row.pk}/version/").status_code == 403
    assert client.get(f"{PRICES}{row.pk}/change/").status_code == 200
    assert Price.objects.count() == 1


def test_it_says_which_versions_count_now(operator: Client, alice: Person) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    old = price("claude-*", valid_from=now - 9 * hour)
    new = price("claude-*", valid_from=now - 5 * hour)
    future = price("claude-*", valid_from=now + hour)
    ended = price("claude-*", valid_from=now - 3 * hour, valid_until=now - hour)
    there = price("claude-*", upstream="gpu-box", valid_from=now - hour)
    hers_old = price("claude-*", organization=alice.organization, valid_from=now - 9 * hour)
    hers = price("claude-*", organization=alice.organization, valid_from=now - 7 * hour)
    default = price("claude-*", is_default=True, valid_from=now - hour)
    expected = {
        old.pk: "superseded",
        new.pk: "in force",
        future.pk: "future",
        ended.pk: "ended",
        there.pk: "in force",
        hers_old.pk: "superseded",
        hers.pk: "in force",
        default.pk: "in force",
    }
    assert standings(operator) == expected
    for standing in set(expected.values()):
        alike = {pk: it for pk, it in expected.items() if it == standing}
        assert standings(operator, f"standing={standing}") == alike


def test_it_shows_what_people_wrote_as_text(operator: Client) -> None:
    row = price(HTML, upstream=HTML, source=HTML)
    for page in (PRICES, f"{PRICES}{row.pk}/change/"):
        text = operator.get(page).content.decode()
        assert HTML not in text
        assert ESCAPED in text


def test_it_asks_as_often_for_many_prices_as_for_few(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(PRICES)
    for _ in range(2):
        for _ in range(10):
            number = Price.objects.count()
            organization = Organization.objects.create(name=f"o{number}")
            price(f"p{number}", organization=organization)
        with django_assert_num_queries(5):  # session, user, one count, rows, alarms
            assert operator.get(PRICES).status_code == 200
