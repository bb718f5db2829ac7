"""Subscriptions in the admin: plans, caps, and who is suspended and resumed."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from accounts.models import Organization
from accounts.tests.people import Person, alice, charlie
from billing import terms
from billing.models import Allowance, Plan, Subscription, UsageRollup
from billing.tests.admin import DOLLAR, ESCAPED, HTML, lines, operator, staff, told

__all__ = ["alice", "charlie", "operator"]

SUBSCRIPTIONS = "/admin/billing/subscription/"


@pytest.fixture
def gold(db: None) -> Plan:
    return Plan.objects.create(code="gold", name="Gold")


@pytest.fixture
def hers(alice: Person, gold: Plan) -> Subscription:
    return Subscription.objects.create(organization=alice.organization, plan=gold)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The organizations whose terms are to be read anew."""
    found: list[UUID] = []
    monkeypatch.setattr(terms, "forget", found.append)
    return found


def act(client: Client, action: str, *rows: Subscription, **more: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(SUBSCRIPTIONS, chosen | more, follow=True)


def changed(client: Client, row: Subscription, **fields: Any) -> Any:
    values = {"plan": row.plan_id, "state": "active", "reason": "", "external_id": ""}
    return client.post(f"{SUBSCRIPTIONS}{row.pk}/change/", values | fields)


def test_it_puts_an_organization_on_a_plan(
    operator: Client,
    alice: Person,
    gold: Plan,
    forgotten: list[UUID],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    values = {
        "organization": alice.organization.pk,
        "plan": gold.pk,
        "state": "active",
        "cost_per_month_nano": "99.5",
    }
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(SUBSCRIPTIONS + "add/", values)
    row = Subscription.objects.get()
    assert (row.plan, row.cost_per_month_nano) == (gold, 99_500_000_000)
    assert row.external_id is None
    ((action, details),) = lines()
    assert action == "subscription.created"
    assert details["cost_per_month_nano"] == 99_500_000_000
    assert forgotten == [alice.organization.pk]


def test_it_lets_many_have_no_id_of_their_own(
    operator: Client, hers: Subscription, charlie: Person, gold: Plan
) -> None:
    his = Subscription.objects.create(organization=charlie.organization, plan=gold)
    assert changed(operator, hers).status_code == 302
    assert changed(operator, his).status_code == 302


def test_it_writes_down_a_cap_before_and_after(operator: Client, hers: Subscription) -> None:
    changed(operator, hers, cost_per_day_nano="3")
    ((action, details),) = lines()
    assert action == "subscription.changed"
    assert details["changed"] == {"cost_per_day_nano": [None, 3 * DOLLAR]}


def test_it_asks_why_somebody_is_suspended(operator: Client, hers: Subscription) -> None:
    answer = changed(operator, hers, state="suspended")
    assert list(answer.context["adminform"].form.errors) == ["reason"]
    assert changed(operator, hers, state="suspended", reason="unpaid").status_code == 302
    changed(operator, hers, state="active", reason="unpaid")
    hers.refresh_from_db()
    assert (hers.state, hers.reason) == ("active", "")


def test_it_suspends_and_resumes(
    operator: Client,
    hers: Subscription,
    forgotten: list[UUID],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    assert "Suspend organizations" in act(operator, "suspend", hers).content.decode()
    hers.refresh_from_db()
    assert hers.state == "active"
    with django_capture_on_commit_callbacks(execute=True):
        answer = act(operator, "suspend", hers, confirmed="yes", reason="The invoice is unpaid.")
    assert told(answer) == ["1 suspended."]
    hers.refresh_from_db()
    assert (hers.state, hers.reason) == ("suspended", "The invoice is unpaid.")
    with django_capture_on_commit_callbacks(execute=True):
        assert told(act(operator, "resume", hers)) == ["1 resumed."]
    hers.refresh_from_db()
    assert (hers.state, hers.reason) == ("active", "")
    details = {"name": "Acme on Gold", "reason": "The invoice is unpaid."}
    assert lines() == [("subscription.suspended", details), ("subscription.resumed", details)]
    assert forgotten == [hers.pk, hers.pk]


def test_it_suspends_nobody_without_a_reason(operator: Client, hers: Subscription) -> None:
    answer = act(operator, "suspend", hers, confirmed="yes", reason=" ")
    assert list(answer.context["form"].errors) == ["reason"]
    hers.refresh_from_db()
    assert hers.state == "active"


def test_it_leaves_alone_whoever_is_there_already(
    operator: Client, hers: Subscription, charlie: Person, gold: Plan
) -> None:
    his = Subscription.objects.create(
        organization=charlie.organization, plan=gold, state="suspended", reason="first"
    )
    answer = act(operator, "suspend", hers, his, confirmed="yes", reason="second")
    assert told(answer) == ["1 suspended.", "1 left alone: nothing to be suspended there."]
    his.refresh_from_db()
    assert his.reason == "first"
    assert len(lines()) == 1


def test_it_suspends_nobody_for_those_who_may_only_look(hers: Subscription) -> None:
    client = staff("view_subscription")
    act(client, "suspend", hers, confirmed="yes", reason="mine")
    assert changed(client, hers, state="suspended", reason="mine").status_code == 403
    hers.refresh_from_db()
    assert hers.state == "active"
    assert client.get(f"{SUBSCRIPTIONS}{hers.pk}/change/").status_code == 200


def test_it_shows_what_the_organization_used(
    operator: Client, hers: Subscription, alice: Person, charlie: Person
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for person, cost in ((alice, 1_230_000_000), (charlie, 77 * DOLLAR)):
        UsageRollup.objects.create(
            kind="day",
            starts_at=today,
            organization=person.organization,
            user_id=person.user.pk,
            requests=3,
            input_tokens=1000,
            output_tokens=200,
            cache_read_tokens=99_999,
            cache_write_1h_tokens=34,
            cost_nano=cost,
        )
        Allowance.objects.create(
            id=f"{person.organization.pk}/organization/{today:%Y-%m}",
            organization=person.organization,
            subject="organization",
            period=f"{today:%Y-%m}",
            tokens_held=55,
            cost_held_nano=cost // 10,
        )
    page = operator.get(f"{SUBSCRIPTIONS}{hers.pk}/change/").content.decode()
    assert page.count("3 requests, 1,234 tokens (cache reads apart), $1.23") == 2
    assert "55 tokens, $0.123" in page
    assert "$77" not in page


def test_it_shows_names_and_reasons_as_text(operator: Client, hers: Subscription) -> None:
    Organization.objects.update(name=HTML)
    Subscription.objects.update(reason=HTML, state="suspended", external_id=HTML)
    pages = [
        operator.get(SUBSCRIPTIONS),
        operator.get(f"{SUBSCRIPTIONS}{hers.pk}/change/"),
        act(operator, "suspend", hers),
        act(operator, "suspend", hers, confirmed="yes", reason=HTML),
    ]
    for page in pages:
        assert HTML not in page.content.decode()
        assert ESCAPED in page.content.decode()


def test_it_asks_as_often_for_many_subscriptions_as_for_few(
    operator: Client,
    gold: Plan,
    hers: Subscription,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    operator.get(SUBSCRIPTIONS)
    for _ in range(2):
        for _ in range(10):
            organization = Organization.objects.create(name=f"o{Organization.objects.count()}")
            Subscription.objects.create(organization=organization, plan=gold)
        # Session, user, the filter's plans, one count, rows, alarms.
        with django_assert_num_queries(6):
            assert operator.get(SUBSCRIPTIONS).status_code == 200
    operator.get(f"{SUBSCRIPTIONS}{hers.pk}/change/")  # what a process looks up once
    # Session, user, row, today, month, what is held, the chosen plan, alarms.
    with django_assert_num_queries(8):
        assert operator.get(f"{SUBSCRIPTIONS}{hers.pk}/change/").status_code == 200
