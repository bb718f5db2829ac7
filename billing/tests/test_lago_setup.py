"""`manage.py setuplago`: Lago is brought in line with us, and a second run changes nothing."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.tests.people import Person
from billing import export
from billing.lago import Client
from billing.models import Plan, Subscription
from billing.tests.lago_rows import usage
from tests import lago as standing_in
from tests.lago import Lago


def setup(*options: str) -> str:
    out = StringIO()
    call_command("setuplago", *options, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def subscribe(person: Person, plan: str, **more: Any) -> Subscription:
    return Subscription.objects.create(
        organization=person.organization, plan=Plan.objects.get(code=plan), **more
    )


def test_it_creates_what_is_missing(alice: Person, lago: Lago) -> None:
    subscribe(alice, "pro", external_id="acme-pro")
    setup()
    (metric,) = lago.store.metrics.values()
    assert (metric["code"], metric["aggregation_type"]) == ("ai_api_call", "sum_agg")
    assert metric["field_name"] == "cost_usd"
    assert set(lago.store.plans) == {"free", "starter", "pro", "enterprise"}
    plan = lago.store.plans["pro"]
    assert (plan["amount_cents"], plan["amount_currency"], plan["interval"]) == (
        0,
        "USD",
        "monthly",
    )
    (charge,) = plan["charges"]
    assert (charge["billable_metric_code"], charge["properties"]) == (
        "ai_api_call",
        {"amount": "1"},
    )
    customer = lago.store.customers[str(alice.organization.id)]
    assert (customer["name"], customer["currency"]) == ("Acme", "USD")
    subscription = lago.store.subscriptions["acme-pro"]
    assert subscription["plan_code"] == "pro"
    assert subscription["external_customer_id"] == str(alice.organization.id)


def test_a_second_run_changes_nothing(alice: Person, charlie: Person, lago: Lago) -> None:
    subscribe(alice, "pro")
    assert setup().splitlines()[-1] == "8 changed, 0 failed."
    before = [request for request in lago.requests if request[0] != "GET"]
    assert setup().splitlines()[-1] == "0 changed, 0 failed."
    assert [request for request in lago.requests if request[0] != "GET"] == before


def test_a_dry_run_only_says_what_it_would_do(alice: Person, lago: Lago) -> None:
    subscribe(alice, "pro")
    said = setup("--dry-run")
    assert "plan pro: created" in said
    assert said.splitlines()[-1] == "7 would be changed, 0 failed."
    assert {method for method, _ in lago.requests} == {"GET"}


def test_it_puts_an_organization_without_a_subscription_on_the_default_plan(
    alice: Person, lago: Lago, settings: Any
) -> None:
    settings.DEFAULT_PLAN = "free"
    said = setup()
    assert "to free created (no subscription here: the default plan)" in said
    assert lago.store.subscriptions[str(alice.organization.id)]["plan_code"] == "free"
    assert not Subscription.objects.exists()


def test_it_says_so_where_there_is_no_default_plan(alice: Person, lago: Lago) -> None:
    assert "no subscription here, and no default plan" in setup()
    assert str(alice.organization.id) in lago.store.customers
    assert lago.store.subscriptions == {}


def test_it_updates_what_differs_and_leaves_the_rest(alice: Person, lago: Lago) -> None:
    own = subscribe(alice, "pro")
    setup()
    lago.store.plans["pro"].update({"amount_cents": 4900, "charges": []})
    lago.store.metrics["ai_api_call"]["field_name"] = "tokens"
    lago.store.customers[str(alice.organization.id)]["email"] = "alice@example.com"
    Plan.objects.filter(code="pro").update(name="Professional")
    alice.organization.name = "Acme Inc."
    alice.organization.save()
    own.plan = Plan.objects.get(code="enterprise")
    own.save()
    said = setup()
    assert "plan pro: updated, its name and a charge for usage" in said
    plan = lago.store.plans["pro"]
    assert (plan["name"], plan["amount_cents"], len(plan["charges"])) == ("Professional", 4900, 1)
    assert lago.store.metrics["ai_api_call"]["field_name"] == "cost_usd"
    customer = lago.store.customers[str(alice.organization.id)]
    assert (customer["name"], customer["email"]) == ("Acme Inc.", "alice@example.com")
    assert "moved from pro to enterprise" in said


def test_it_takes_an_alias_for_the_plan_it_means(alice: Person, lago: Lago) -> None:
    subscribe(alice, "pro")
    setup()
    lago.store.subscriptions[str(alice.organization.id)]["plan_code"] = "professional_monthly"
    assert setup().splitlines()[-1] == "0 changed, 0 failed."


def test_it_revives_no_subscription_that_is_suspended(alice: Person, lago: Lago) -> None:
    subscribe(alice, "pro", state="suspended", reason="the subscription has ended")
    assert "suspended, its subscription is left as it is" in setup()
    assert lago.store.subscriptions == {}


def test_one_organization_that_fails_stops_no_other(
    alice: Person, charlie: Person, lago: Lago
) -> None:
    subscribe(alice, "pro")
    subscribe(charlie, "pro")
    lago.behaviour.bad_customers = {str(min(alice.organization.id, charlie.organization.id))}
    with pytest.raises(CommandError, match="1 organizations could not be set up"):
        setup()
    assert len(lago.store.customers) == len(lago.store.subscriptions) == 1


def test_it_bills_by_what_is_sent(alice: Person, lago: Lago, settings: Any) -> None:
    settings.LAGO_EVENT_PROPERTIES = {"model": "model", "cost_nano": "nanos"}
    setup()
    assert lago.store.metrics["ai_api_call"]["field_name"] == "nanos"
    assert lago.store.plans["pro"]["charges"][0]["properties"] == {"amount": "0.000000001"}
    settings.LAGO_EVENT_PROPERTIES = {"model": "model"}
    with pytest.raises(CommandError, match="nothing can be billed by"):
        setup()


def test_the_bill_is_what_the_ledger_says(alice: Person, lago: Lago) -> None:
    subscribe(alice, "pro")
    setup()
    usage(alice, 3, cost_nano=1_234_567_890)
    with Client() as client:
        export.Exporter(client).step()
        found = client.find(
            f"customers/{alice.organization.id}/current_usage",
            "customer_usage",
            external_subscription_id=str(alice.organization.id),
        )
    assert found is not None
    assert found["charges_usage"][0]["units"] == "3.70370367"


def test_it_ends_with_a_sentence_where_lago_is_away(lago: Lago) -> None:
    lago.behaviour.always = standing_in.AWAY
    with pytest.raises(CommandError, match="Lago answered 503"):
        setup()
