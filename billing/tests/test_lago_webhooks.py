"""Lago's webhooks: each counts once, and none undoes what is newer."""

from typing import Any
from uuid import uuid4

import pytest

from accounts.models import AuditEntry
from accounts.tests.people import Person
from billing import webhooks
from billing.models import Alarm, Plan, Subscription, WebhookDelivery
from billing.tests.lago_calls import SECRET, T1, T2, T3, subscription, tell


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.LAGO_WEBHOOK_SECRET = SECRET


def started(person: Person, plan: str = "professional", **more: Any) -> str:
    return tell("subscription.started", "subscription", subscription(person, plan, **more))


def ended(person: Person, **more: Any) -> str:
    found = subscription(person, status="terminated", terminated_at=T2) | more
    return tell("subscription.terminated", "subscription", found)


def wallet(person: Person, **more: Any) -> dict[str, Any]:
    return {"lago_id": "w", "external_customer_id": str(person.organization.id), **more}


def depleted(person: Person, at: str = T1) -> str:
    found = wallet(person, last_balance_sync_at=at, ongoing_balance_cents=0)
    return tell("wallet.depleted_ongoing_balance", "wallet", found)


def topped_up(person: Person, at: str = T2, status: str = "settled") -> str:
    found = {
        "status": status,
        "transaction_type": "inbound",
        "settled_at": at,
        "wallet": wallet(person),
    }
    return tell("wallet_transaction.updated", "wallet_transaction", found)


def own(person: Person) -> Subscription:
    return Subscription.objects.select_related("plan").get(organization=person.organization)


# Each once.


def test_a_delivery_counts_once(alice: Person) -> None:
    found = subscription(alice)
    assert tell("subscription.started", "subscription", found, key="k1") == "on plan pro"
    Subscription.objects.update(plan=Plan.objects.get(code="free"))
    assert tell("subscription.started", "subscription", found, key="k1") == "taken before"
    assert own(alice).plan.code == "free"
    delivery = WebhookDelivery.objects.get()
    assert (delivery.webhook_type, delivery.outcome) == ("subscription.started", "on plan pro")
    assert AuditEntry.objects.filter(actor="lago").count() == 1


def test_a_delivery_that_fails_may_come_again(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setitem(webhooks.EFFECTS, "started", fail)
        with pytest.raises(RuntimeError):
            tell("subscription.started", "subscription", subscription(alice), key="k1")
    assert not WebhookDelivery.objects.exists()
    assert tell("subscription.started", "subscription", subscription(alice), key="k1")
    assert own(alice).plan.code == "pro"


def test_others_are_recorded_and_change_nothing(alice: Person) -> None:
    assert tell("invoice.created", "invoice", {}) == "nothing to do"
    assert WebhookDelivery.objects.get().webhook_type == "invoice.created"
    assert not Subscription.objects.exists()


# Subscriptions.


def test_a_started_subscription_brings_its_plan(alice: Person, charlie: Person) -> None:
    assert started(alice, "managed_monthly", external_id="acme-1") == "on plan pro"
    mine = own(alice)
    assert (mine.plan.code, mine.external_id, mine.state) == ("pro", "acme-1", "active")
    assert not Subscription.objects.filter(organization=charlie.organization).exists()
    line = AuditEntry.objects.get(actor="lago")
    assert (line.action, line.organization) == ("lago.subscription", alice.organization)


def test_an_updated_one_changes_the_plan_and_keeps_the_caps(alice: Person) -> None:
    started(alice)
    Subscription.objects.update(tokens_per_day=77)
    found = subscription(alice, "enterprise")
    assert tell("subscription.updated", "subscription", found) == "on plan enterprise"
    assert (own(alice).plan.code, own(alice).tokens_per_day) == ("enterprise", 77)


def test_it_is_found_by_its_external_id_first(alice: Person, charlie: Person) -> None:
    started(alice, external_id="sub-a")
    # Whatever customer it names: the subscription is Alice's.
    started(charlie, "free", external_id="sub-a", started_at=T2)
    assert own(alice).plan.code == "free"
    assert not Subscription.objects.filter(organization=charlie.organization).exists()


def test_a_stranger_changes_nothing(db: None) -> None:
    found = {"external_id": str(uuid4()), "external_customer_id": "x", "plan_code": "pro"}
    assert tell("subscription.started", "subscription", found) == "no such organization here"


def test_an_unknown_plan_changes_nothing_but_is_alarmed(alice: Person) -> None:
    started(alice)
    assert started(alice, "platinum", started_at=T2) == "unknown plan platinum"
    assert own(alice).plan.code == "pro"
    alarm = Alarm.objects.get()
    assert (alarm.code, alarm.subject) == ("unknown_plan", "platinum")


def test_an_ended_subscription_suspends_and_a_new_one_resumes(alice: Person) -> None:
    started(alice)
    assert ended(alice) == "suspended"
    assert (own(alice).state, own(alice).reason) == ("suspended", webhooks.ENDED)
    assert started(alice, "starter", lago_id="second", started_at=T3) == "on plan starter"
    assert (own(alice).state, own(alice).reason) == ("active", "")


def test_the_end_of_another_subscription_suspends_nobody(alice: Person) -> None:
    started(alice, external_id="now")
    assert "another subscription" in ended(alice, external_id="before")
    assert own(alice).state == "active"
    found = subscription(alice, "starter", external_id="now")
    assert tell("subscription.updated", "subscription", found) == "on plan starter"


def test_an_old_word_undoes_no_newer_one(alice: Person) -> None:
    started(alice)
    ended(alice)
    assert started(alice) == "older than what is known"  # a late retry of its start
    assert own(alice).state == "suspended"
    started(alice, "starter", lago_id="second", started_at=T3)
    assert ended(alice) == "older than what is known"
    assert own(alice).state == "active"


@pytest.mark.parametrize("end_first", [True, False])
def test_a_change_of_plan_suspends_nobody_in_whichever_order_it_comes(
    alice: Person, end_first: bool
) -> None:
    started(alice)
    if end_first:
        ended(alice)
    started(alice, "enterprise", lago_id="second", started_at=T2)
    if not end_first:
        ended(alice)
    assert (own(alice).plan.code, own(alice).state) == ("enterprise", "active")


def test_what_an_operator_suspended_stays_so(alice: Person) -> None:
    started(alice)
    Subscription.objects.update(state="suspended", reason="Abuse.")
    assert started(alice, "enterprise", started_at=T2) == "on plan enterprise, still suspended"
    assert topped_up(alice) == "was not suspended for its balance"
    assert (own(alice).state, own(alice).reason) == ("suspended", "Abuse.")


# Wallets.


def test_a_used_up_balance_suspends_until_it_is_filled(alice: Person) -> None:
    started(alice)
    assert depleted(alice) == "suspended"
    assert (own(alice).state, own(alice).reason) == ("suspended", webhooks.USED_UP)
    assert topped_up(alice, status="pending") == "nothing to do"
    assert topped_up(alice) == "resumed"
    assert own(alice).state == "active"
    assert depleted(alice, at=T1) == "older than what is known"
    assert depleted(alice, at=T3) == "suspended"
    empty = wallet(alice, last_balance_sync_at="2026-11-04T00:00:00Z", ongoing_balance_cents=0)
    assert tell("wallet.updated", "wallet", empty) == "nothing to do"
    assert tell("wallet.updated", "wallet", empty | {"ongoing_balance_cents": 5}) == "resumed"


def test_a_filled_balance_revives_no_ended_subscription(alice: Person) -> None:
    started(alice)
    depleted(alice)
    ended(alice)
    assert topped_up(alice) == "was not suspended for its balance"
    assert own(alice).state == "suspended"


def test_a_balance_suspends_also_without_a_subscription_here(alice: Person, settings: Any) -> None:
    settings.DEFAULT_PLAN = "free"
    assert depleted(alice) == "suspended"
    assert own(alice).plan.code == "free"


def test_it_keeps_a_type_that_is_no_text(db: None) -> None:
    assert webhooks.take("k1", {"webhook_type": "\ud800\0x"}) == "nothing to do"
    assert WebhookDelivery.objects.get().webhook_type == "?x"


def test_the_same_word_under_another_key_undoes_nothing(alice: Person) -> None:
    started(alice)
    Subscription.objects.update(plan=Plan.objects.get(code="free"))  # an operator's doing
    started(alice)
    assert Subscription.objects.get().plan.code == "free"
