"""Who sees which page of billing, and that pages to read are never written."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from accounts.tests.people import Person, alice, charlie
from billing.models import Allowance, Worker
from billing.tests.admin import ESCAPED, HTML, operator, staff

__all__ = ["alice", "charlie", "operator"]

BILLING = "/admin/billing/"
MODELS = [
    "alarm",
    "allowance",
    "outboxevent",
    "plan",
    "price",
    "subscription",
    "usagerecord",
    "webhookdelivery",
    "worker",
]
READ_ONLY = ["alarm", "allowance", "outboxevent", "usagerecord", "webhookdelivery", "worker"]


def titles(page: Any) -> list[str]:
    return [
        item["title"] for group in page.context["sidebar_navigation"] for item in group["items"]
    ]


def allowance(organization: Organization, subject: str, period: str, **fields: int) -> Allowance:
    return Allowance.objects.create(
        id=f"{organization.pk}/{subject}/{period}",
        organization=organization,
        subject=subject,
        period=period,
        **fields,
    )


def test_it_shows_nothing_to_staff_without_permission(db: None) -> None:
    client = staff("view_user")
    pages = [f"{BILLING}{model}/" for model in MODELS] + [BILLING + "usage/"]
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 403)
    assert titles(client.get("/admin/")) == ["Users"]


def test_it_sends_strangers_to_the_login(client: Client, db: None) -> None:
    for page in [*MODELS, "usage"]:
        answer = client.get(f"{BILLING}{page}/")
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("model", MODELS)
def test_it_shows_each_page_to_those_who_may_see_it(db: None, model: str) -> None:
    client = staff(f"view_{model}")
    page = client.get(f"{BILLING}{model}/")
    assert page.status_code == 200
    assert len(titles(page)) == 1


@pytest.mark.parametrize("model", READ_ONLY)
def test_it_adds_nothing_to_what_the_server_writes(operator: Client, model: str) -> None:
    assert operator.get(f"{BILLING}{model}/add/").status_code == 403
    assert operator.post(f"{BILLING}{model}/add/", {}).status_code == 403
    page = operator.get(f"{BILLING}{model}/").content.decode()
    assert "delete_selected" not in page


def test_it_groups_the_sidebar(operator: Client) -> None:
    page = operator.get("/admin/")
    groups = [group["title"] for group in page.context["sidebar_navigation"]]
    assert groups == ["Billing", "Gateway", "Machines", "People"]
    for group in page.context["sidebar_navigation"]:
        for item in group["items"]:
            assert operator.get(item["link"]).status_code == 200


def test_it_counts_no_alarms_for_those_who_may_not_see_them(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = staff("view_worker")
    client.get(BILLING + "worker/")
    with django_assert_num_queries(6) as seen:  # session, user, two of rights, one count, rows
        client.get(BILLING + "worker/")
    assert not [query for query in seen.captured_queries if "billing_alarm" in query["sql"]]


def test_it_shows_what_is_used_and_held(operator: Client, alice: Person, charlie: Person) -> None:
    hers = allowance(
        alice.organization, "user:1", "2026-11", cost_nano=1_500_000_000, cost_held_nano=10**7
    )
    allowance(charlie.organization, "organization", "2026-11-25")
    text = operator.get(BILLING + "allowance/").content.decode()
    assert "$1.50" in text
    assert "$0.0100" in text
    text = operator.get(
        f"{BILLING}allowance/{hers.pk.replace('/', '_2F')}/change/"
    ).content.decode()
    assert "$0.01" in text
    for term in ("user:1", "2026-11", str(alice.organization.pk), hers.pk):
        page = operator.get(BILLING + "allowance/", {"q": term})
        assert list(page.context["cl"].result_list) == [hers]
    assert not operator.get(BILLING + "allowance/", {"q": "user"}).context["cl"].result_list


def test_it_asks_as_often_for_many_allowances_as_for_few(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(BILLING + "allowance/")
    for _ in range(2):
        for _ in range(10):
            organization = Organization.objects.create(name="o")
            allowance(organization, "organization", "2026-11")
        with django_assert_num_queries(4):  # session, user, rows, alarms
            assert operator.get(BILLING + "allowance/").status_code == 200


def test_it_shows_the_workers(operator: Client) -> None:
    row = Worker.objects.create(id=uuid4(), beat=17, name=HTML, started_at=datetime.now(UTC))
    for page in (BILLING + "worker/", f"{BILLING}worker/{row.pk}/change/"):
        text = operator.get(page).content.decode()
        assert "17" in text
        assert HTML not in text
        assert ESCAPED in text
