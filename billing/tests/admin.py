"""What the tests of billing's admin pages share."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts.models import AuditEntry
from accounts.tests.people import Person
from billing import ledger
from billing.models import Price, UsageRecord

HTML = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"
DOLLAR = 10**9


@pytest.fixture
def operator(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def staff(*permissions: str) -> Client:
    """The browser of somebody who may sign in to the admin, and do just this there."""
    user = User.objects.create_user("dora", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def record(person: Person, **fields: Any) -> UsageRecord:
    """A row of a request that ended well."""
    values: dict[str, Any] = {
        "id": ledger.new_id(),
        "state": "completed",
        "organization": person.organization,
        "user": person.user,
        "api_key_id": "0123456789ab",
        "requested_model": "claude-opus-5-5",
        "target_model": "qwen3:8b",
        "upstream": "scripted",
        "streamed": True,
        "session_id": str(uuid.uuid4()),
        "admitted_at": datetime.now(UTC),
        "closed_at": datetime.now(UTC),
        "status": 200,
        "input_tokens": 123,
        "usage": {"input_tokens": 123},
    }
    return UsageRecord.objects.create(**values | fields)


def price(pattern: str, **fields: Any) -> Price:
    """A version of a price that began long ago."""
    values: dict[str, Any] = {
        "input_nano": 3 * DOLLAR,
        "output_nano": 15 * DOLLAR,
        "cache_read_nano": DOLLAR // 10,
        "cache_write_5m_nano": 4 * DOLLAR,
        "cache_write_1h_nano": 6 * DOLLAR,
        "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Price.objects.create(pattern=pattern, **values | fields)


def lines() -> list[tuple[str, Any]]:
    """The audit trail: what was done, and the details."""
    return list(AuditEntry.objects.order_by("id").values_list("action", "details"))


def told(answer: Any) -> list[str]:
    """The messages on a page."""
    return [str(message) for message in answer.context["messages"]]
