"""Lago's webhooks: only signed ones count, each once, and none undoes what is newer."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client

from accounts.models import AuditEntry
from accounts.tests.people import Person
from billing import lago_signature, webhooks
from billing.models import Alarm, Plan, Subscription, WebhookDelivery
from tests import lago as standing_in
from tests import lago_keys as keys
from tests.lago import Lago

SECRET = "the-hmac-key-of-lago"
URL = "/api/v1/lago/webhooks"
T1, T2, T3 = (f"2026-11-0{day}T00:00:00Z" for day in (1, 2, 3))


@pytest.fixture(autouse=True)
def no_key_in_memory() -> Iterator[None]:
    lago_signature.forget()
    yield
    lago_signature.forget()


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.LAGO_WEBHOOK_SECRET = SECRET


def post(body: bytes, **headers: str) -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.post(URL, body, content_type="application/json", headers=headers)


def signed(body: bytes, *, key: str = "", algorithm: str = "hmac", signature: str = "") -> Any:
    return post(
        body,
        **{
            "x-lago-signature": signature or keys.by_hmac(body, SECRET),
            "x-lago-signature-algorithm": algorithm,
            "x-lago-unique-key": key or uuid4().hex,
        },
    )


def tell(webhook_type: str, name: str, found: dict[str, Any], key: str = "") -> str:
    """Send a webhook as Lago does; what it changed."""
    payload = {
        "webhook_type": webhook_type,
        "object_type": name,
        "organization_id": str(uuid4()),
        name: found,
    }
    answer = signed(json.dumps(payload).encode(), key=key)
    assert answer.status_code == 200, answer.content
    outcome: str = answer.json()["outcome"]
    return outcome


def subscription(person: Person, plan: str = "professional", **more: Any) -> dict[str, Any]:
    return {
        "lago_id": "first",
        "external_id": str(person.organization.id),
        "external_customer_id": str(person.organization.id),
        "plan_code": plan,
        "status": "active",
        "created_at": T1,
        "started_at": T1,
        "terminated_at": None,
        **more,
    }


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


# Signatures.


def test_unsigned_is_refused(db: None) -> None:
    body = b"{}"
    good = keys.by_hmac(body, SECRET)
    for headers in (
        {},
        {"x-lago-signature-algorithm": "hmac"},
        {"x-lago-signature": good},
        {"x-lago-signature": good, "x-lago-signature-algorithm": "none"},
        {"x-lago-signature": good, "x-lago-signature-algorithm": "hs256"},
        {"x-lago-signature": good[:-4], "x-lago-signature-algorithm": "hmac"},
        {"x-lago-signature": "é", "x-lago-signature-algorithm": "hmac"},
    ):
        assert post(body, **headers, **{"x-lago-unique-key": "1"}).status_code == 401
    assert not WebhookDelivery.objects.exists()


def test_a_changed_body_is_refused(alice: Person) -> None:
    body = json.dumps({"webhook_type": "subscription.started"}).encode()
    assert signed(body + b" ", signature=keys.by_hmac(body, SECRET)).status_code == 401
    assert signed(body).status_code == 200


def test_no_hmac_is_taken_without_a_secret(db: None, settings: Any) -> None:
    settings.LAGO_WEBHOOK_SECRET = ""
    assert signed(b"{}", signature=keys.by_hmac(b"{}", "")).status_code == 401


def by_jwt(body: bytes, token: str) -> int:
    status: int = signed(body, algorithm="jwt", signature=token).status_code
    return status


def test_a_jwt_of_lagos_is_taken(alice: Person, lago: Lago) -> None:
    body = json.dumps(
        {"webhook_type": "subscription.started", "subscription": subscription(alice)}
    ).encode()
    assert by_jwt(body, keys.by_jwt(body, lago.url)) == 200
    assert own(alice).plan.code == "pro"
    assert by_jwt(body, keys.by_jwt(body, lago.url)) == 200
    assert lago.asked("GET", "/webhooks/public_key") == 1


def test_no_other_jwt_is_taken(db: None, lago: Lago) -> None:
    body, other = b'{"a": 1}', rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = keys.public_key().encode()
    claims = {"data": body.decode(), "iss": lago.url}
    for token in (
        keys.by_jwt(body, lago.url, other),
        keys.by_jwt(body, "http://another"),
        keys.by_jwt(b'{"a": 2}', lago.url),
        jwt.encode({"iss": lago.url}, keys.private_key(), algorithm="RS256"),
        jwt.encode({"data": body.decode()}, keys.private_key(), algorithm="RS256"),
        jwt.encode(claims, keys.private_key(), algorithm="RS512"),
        jwt.encode(claims, public * 2, algorithm="HS256"),
        jwt.encode(claims, None, algorithm="none"),
        "no.jwt.at-all",
    ):
        assert by_jwt(body, token) == 401
    assert by_jwt(body, keys.by_jwt(body, lago.url)) == 200
    assert lago.asked("GET", "/webhooks/public_key") == 1  # however many were wrong


def test_a_new_key_of_lagos_is_fetched(
    db: None, lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, new = b"{}", rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert by_jwt(body, keys.by_jwt(body, lago.url)) == 200
    pem = keys.public_key(new)
    monkeypatch.setattr(keys, "public_key", lambda: pem)
    assert by_jwt(body, keys.by_jwt(body, lago.url, new)) == 401  # asked a moment ago
    monkeypatch.setattr(lago_signature, "REFETCH_S", 0.0)
    assert by_jwt(body, keys.by_jwt(body, lago.url, new)) == 200
    assert by_jwt(body, keys.by_jwt(body, lago.url)) == 401


def test_a_webhook_may_come_again_when_the_key_cannot_be_had(db: None, lago: Lago) -> None:
    lago.behaviour.always = standing_in.AWAY
    assert by_jwt(b"{}", keys.by_jwt(b"{}", lago.url)) == 503
    assert not WebhookDelivery.objects.exists()


def test_it_takes_only_what_it_can_read(db: None) -> None:
    assert signed(b"no json").status_code == 400
    assert signed(b"[]").status_code == 400
    assert signed(b"{}", key="k" * 201).status_code == 400
    assert signed(b'{"a": "' + b"x" * 1024 * 1024 + b'"}').status_code == 413
    assert Client().get(URL).status_code == 405
    odd: Any
    for odd in (None, 1, [], "x", {"external_id": {}, "plan_code": []}):
        payload = {"webhook_type": "subscription.started", "subscription": odd}
        assert signed(json.dumps(payload).encode()).json()["outcome"] == "no such organization here"


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
        patch.setitem(webhooks.EFFECTS, "started", fail)  # type: ignore[arg-type]  # a test's own
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
