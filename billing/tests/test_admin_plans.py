"""Plans in the admin: typed in dollars, written down, and not deleted while in use."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Organization
from accounts.tests.people import Person, alice, charlie
from billing import money
from billing.admin.fields import ScaledField
from billing.models import Plan, Subscription
from billing.tests.admin import HTML, lines, operator, staff, told

__all__ = ["alice", "charlie", "operator"]

PLANS = "/admin/billing/plan/"


def form(**fields: Any) -> dict[str, Any]:
    values = {
        "code": "gold",
        "name": "Gold",
        "requests_per_minute": "60",
        "aliases-TOTAL_FORMS": 0,
        "aliases-INITIAL_FORMS": 0,
    }
    return values | fields


def changed(client: Client, plan: Plan, **fields: Any) -> Any:
    return client.post(f"{PLANS}{plan.pk}/change/", form(**fields))


@pytest.fixture
def gold(db: None) -> Plan:
    return Plan.objects.create(code="gold", name="Gold", requests_per_minute=60)


@given(st.integers(min_value=0, max_value=10**15))
def test_it_shows_what_was_stored_and_stores_what_was_shown(amount: int) -> None:
    field = ScaledField(places=money.NANO_PLACES, most=10**15)
    shown = field.prepare_value(amount)
    assert field.clean(shown) == amount
    assert not field.has_changed(amount, shown)


def test_it_stores_dollars_as_nano_dollars(operator: Client) -> None:
    operator.post(PLANS + "add/", form(cost_per_day_nano="0.000000001", cost_per_month_nano="$20"))
    plan = Plan.objects.get(code="gold")
    assert (plan.cost_per_day_nano, plan.cost_per_month_nano) == (1, 20 * 10**9)
    page = operator.get(f"{PLANS}{plan.pk}/change/").content.decode()
    assert 'value="0.000000001"' in page
    assert "$20.00" in operator.get(PLANS).content.decode()


def test_it_takes_an_empty_limit_as_unlimited(operator: Client, gold: Plan) -> None:
    Plan.objects.filter(pk=gold.pk).update(cost_per_day_nano=5)
    changed(operator, gold, requests_per_minute="", cost_per_day_nano="")
    gold.refresh_from_db()
    assert (gold.requests_per_minute, gold.cost_per_day_nano) == (None, None)


@pytest.mark.parametrize(
    "amount", ["-1", "0.0000000001", "1,50", "1e3", "NaN", "ten", "1000000.01", HTML]
)
def test_it_refuses_what_is_no_amount(operator: Client, gold: Plan, amount: str) -> None:
    answer = changed(operator, gold, cost_per_day_nano=amount)
    assert answer.status_code == 200
    (error,) = answer.context["adminform"].form.errors["cost_per_day_nano"]
    assert "000000000" not in error  # it speaks of dollars
    assert HTML not in answer.content.decode()
    gold.refresh_from_db()
    assert gold.cost_per_day_nano is None


def test_it_writes_down_a_limit_before_and_after(operator: Client, gold: Plan) -> None:
    changed(operator, gold, cost_per_day_nano="1.5", requests_per_minute="")
    assert lines() == [
        (
            "plan.changed",
            {
                "name": "Gold",
                "changed": {
                    "requests_per_minute": [60, None],
                    "cost_per_day_nano": [None, 1_500_000_000],
                },
            },
        )
    ]


def test_it_writes_nothing_where_nothing_changed(operator: Client, gold: Plan) -> None:
    changed(operator, gold)
    assert lines() == []


def test_it_keeps_a_plans_code(operator: Client, gold: Plan) -> None:
    changed(operator, gold, code="silver")
    gold.refresh_from_db()
    assert gold.code == "gold"


def test_it_adds_aliases_below_a_plan(operator: Client, gold: Plan) -> None:
    alias = {
        "aliases-TOTAL_FORMS": 1,
        "aliases-0-code": "GOLD-OLD_monthly",
        "aliases-0-plan": gold.pk,
    }
    changed(operator, gold, **alias)
    assert [alias.code for alias in gold.aliases.all()] == ["gold_old"]
    assert [action for action, _ in lines()] == ["planalias.created"]


@pytest.mark.parametrize("how", ["page", "confirmed page", "list"])
def test_it_keeps_a_plan_in_use_and_says_who_uses_it(
    operator: Client, gold: Plan, alice: Person, charlie: Person, how: str
) -> None:
    spare = Plan.objects.create(code="spare", name="Spare")
    for person in (alice, charlie):
        Subscription.objects.create(organization=person.organization, plan=gold)
    page = f"{PLANS}{gold.pk}/delete/"
    if how == "page":
        answer = operator.get(page, follow=True)
    elif how == "confirmed page":
        answer = operator.post(page, {"post": "yes"}, follow=True)
    else:
        chosen = {"action": "delete_selected", "_selected_action": [gold.pk, spare.pk]}
        answer = operator.post(PLANS, chosen | {"post": "yes"}, follow=True)
    assert told(answer) == [
        "The plan Gold cannot be deleted: Acme, Other are on it. Move them to another plan first."
    ]
    assert {gold, spare} <= set(Plan.objects.all())
    assert lines() == []


def test_it_names_some_of_many_organizations(operator: Client, gold: Plan) -> None:
    for number in range(13):
        organization = Organization.objects.create(name=f"o{number:02}")
        Subscription.objects.create(organization=organization, plan=gold)
    (text,) = told(operator.get(f"{PLANS}{gold.pk}/delete/", follow=True))
    assert "o00, o01," in text
    assert "o09 and 3 more are on it" in text


@pytest.mark.parametrize("how", ["page", "list"])
def test_it_keeps_the_default_plan(
    operator: Client, gold: Plan, settings: Settings, how: str
) -> None:
    settings.DEFAULT_PLAN = "gold"
    if how == "page":
        answer = operator.post(f"{PLANS}{gold.pk}/delete/", {"post": "yes"}, follow=True)
    else:
        chosen = {"action": "delete_selected", "_selected_action": [gold.pk], "post": "yes"}
        answer = operator.post(PLANS, chosen, follow=True)
    (text,) = told(answer)
    assert "OPSCENTER_DEFAULT_PLAN" in text
    assert Plan.objects.filter(pk=gold.pk).exists()


@pytest.mark.parametrize("how", ["page", "list"])
def test_it_deletes_a_plan_that_nobody_is_on(operator: Client, gold: Plan, how: str) -> None:
    if how == "page":
        operator.post(f"{PLANS}{gold.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [gold.pk], "post": "yes"}
        operator.post(PLANS, chosen)
    assert not Plan.objects.filter(pk=gold.pk).exists()
    assert lines() == [("plan.deleted", {"name": "Gold"})]


def test_it_deletes_nothing_for_those_who_may_only_look(gold: Plan) -> None:
    client = staff("view_plan")
    assert client.post(f"{PLANS}{gold.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(PLANS, {"action": "delete_selected", "_selected_action": [gold.pk], "post": "yes"})
    assert changed(client, gold, name="Mine").status_code == 403
    gold.refresh_from_db()
    assert gold.name == "Gold"


def test_it_shows_dollars_to_those_who_may_only_look(gold: Plan) -> None:
    Plan.objects.filter(pk=gold.pk).update(cost_per_day_nano=1_500_000_000)
    page = staff("view_plan").get(f"{PLANS}{gold.pk}/change/").content.decode()
    assert "$1.50" in page
    assert "1500000000" not in page


def test_it_asks_as_often_for_many_plans_as_for_few(
    operator: Client, gold: Plan, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(PLANS)
    for _ in range(2):
        for _ in range(10):
            number = Plan.objects.count()
            plan = Plan.objects.create(code=f"p{number}", name=f"P{number}")
            organization = Organization.objects.create(name=f"o{number}")
            Subscription.objects.create(organization=organization, plan=plan)
        with django_assert_num_queries(5):  # session, user, one count, rows, alarms
            assert operator.get(PLANS).status_code == 200
