"""Webhooks: only what Lago has signed is taken."""

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client

from accounts.tests.people import Person
from billing import lago_signature
from billing.models import Subscription, WebhookDelivery
from billing.tests.lago_calls import SECRET, URL, post, signed, subscription
from tests import lago as standing_in
from tests import lago_keys as keys
from tests.lago import Lago


@pytest.fixture(autouse=True)
def no_key_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The stand-in is a thread of this process, so a loaded machine took more than the product's
    # three seconds and these tests read 503. None of them is about patience.
    monkeypatch.setattr(lago_signature, "PATIENCE_S", 60.0)
    lago_signature.forget()
    yield
    lago_signature.forget()


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.LAGO_WEBHOOK_SECRET = SECRET


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
    assert Subscription.objects.get(organization=alice.organization).plan.code == "pro"
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
        jwt.encode(claims, "", algorithm="none"),
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
