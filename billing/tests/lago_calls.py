"""Webhooks as Lago sends them."""

import json
from typing import Any
from uuid import uuid4

from django.test import Client

from accounts.tests.people import Person
from tests import lago_keys as keys

SECRET = "the-hmac-key-of-lago"
URL = "/api/v1/lago/webhooks"
T1, T2, T3 = (f"2026-11-0{day}T00:00:00Z" for day in (1, 2, 3))


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
