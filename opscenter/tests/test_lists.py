"""Every list of the admin: as many questions for many rows as for few, and no name is markup."""

import json
import uuid
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEntry, Identity, Membership, Organization
from accounts.tests.people import Person
from accounts.tests.people import uses_written as uses_written
from billing.models import (
    Alarm,
    Allowance,
    OutboxEvent,
    Plan,
    Subscription,
    WebhookDelivery,
    Worker,
)
from billing.tests.admin import HTML, operator, price
from billing.tests.usage_rows import keep, row
from mcp.models import Approval, AuditedCall, OrganizationPolicy, PolicyRule, PolicyVersion
from mcp.states import State
from mcp.tests import machines
from proxy.models import Agent, Crew, CrewMember, OwnCredential, Route, Upstream

__all__ = ["operator"]

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12  # of any list, with all its filters
OF_DASHBOARD = 24
PAGES = sorted(
    f"/admin/{model._meta.label_lower.replace('.', '/')}/" for model in admin.site._registry
)


def fill(count: int, name: str = "mine") -> None:
    """So many rows in each table that has a page, each of another person and organization."""
    for _ in range(count):
        tag = uuid.uuid4().hex[:8]
        organization = Organization.objects.create(name=name, external_id="")
        user = User.objects.create_user(f"{name}{tag}", first_name=name)
        Membership.objects.create(organization=organization, user=user, role="owner")
        person = Person(user=user, organization=organization)
        _people(person, name, tag)
        _billing(person, name, tag)
        _proxy(person, name, tag)
        _machines(person, name)


def _people(person: Person, name: str, tag: str) -> None:
    person.key(name)
    Group.objects.create(name=name + tag)
    Identity.objects.create(
        id=tag, user=person.user, issuer="https://keycloak.test", subject=name + tag
    )
    audit.record(f"test.{name}", name, audit.user(person.user.pk), person.organization, {})


def _billing(person: Person, name: str, tag: str) -> None:
    now = timezone.now()
    plan = Plan.objects.create(code=f"plan-{tag}", name=name)
    Subscription.objects.create(organization=person.organization, plan=plan)
    Allowance.objects.create(
        id=tag, organization=person.organization, subject=f"user:{name}", period=f"{now:%Y-%m-%d}"
    )
    price(name + tag, organization=person.organization, source=name)
    # Each in an hour of its own: the sums of an hour are one row.
    at = now - Organization.objects.count() * timedelta(hours=1)
    told = row(person, at, upstream=name, agent=name, model=name, session_id=name)
    keep([told])
    OutboxEvent.objects.create(record=told, state="parked", reason=name)
    Alarm.objects.create(code="unknown_price", subject=name + tag, first_at=now, last_at=now)
    WebhookDelivery.objects.create(unique_key=tag, webhook_type=name, outcome=name)
    Worker.objects.create(id=uuid.uuid4(), name=name, started_at=now)


def _proxy(person: Person, name: str, tag: str) -> None:
    upstream = Upstream.objects.create(name=name + tag, kind="anthropic", base_url="http://u.test")
    upstreams = {"upstream": upstream, "organization": person.organization}
    Route.objects.create(pattern=name + tag, target_model=name, **upstreams)
    OwnCredential.objects.create(credential_sealed="s", fingerprint=tag, **upstreams)
    agent = Agent.objects.create(slug=f"a-{tag}", name=name, organization=person.organization)
    crew = Crew.objects.create(
        slug=f"c-{tag}", name=name, kind=Crew.Kind.SINGLE, organization=person.organization
    )
    CrewMember.objects.create(crew=crew, agent=agent)


def _machines(person: Person, name: str) -> None:
    laptop = machines.machine(person, name)
    machines.server(laptop, name, name)
    call = machines.call(laptop, State.SUCCEEDED, server=name, tool=name)
    organization, user = person.organization, person.user
    Approval.objects.create(
        organization=organization,
        user=user,
        connector=laptop,
        call=call,
        asked_by="machine",
        fence=1,
        digest="d" * 64,
        reason=name,
        expires_at=timezone.now(),
    )
    told = {"server": name, "tool": name, "state": "succeeded", "user": {"name": name}}
    AuditedCall.objects.create(
        organization=organization, number=1, hash="h" * 64, call=call.pk, told=json.dumps(told)
    )
    policy = OrganizationPolicy.objects.create(organization=organization)
    PolicyRule.objects.create(policy=policy, decision="ask")
    PolicyVersion.objects.create(organization=organization, version=1, otherwise="allow")


def asked(client: Client, page: str) -> int:
    """How many questions a page asks of the database."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200, page
    return len(queries)


@pytest.mark.parametrize("page", ["/admin/", *PAGES])
def test_it_asks_as_often_for_many_rows_as_for_few(operator: Client, page: str) -> None:
    fill(2)
    few = asked(operator, page)
    fill(8)
    assert asked(operator, page) == few <= (OF_DASHBOARD if page == "/admin/" else MOST_QUERIES)


@pytest.mark.parametrize("page", ["/admin/", "/admin/billing/usage/?group=model", *PAGES])
def test_a_name_is_no_markup(operator: Client, page: str) -> None:
    fill(2, HTML)
    text = operator.get(page).content.decode()
    assert HTML not in text
    assert HTML in unescape(text), "the name is not on the page at all"


# As they grow, so would the time to open their page.
COUNTED_NEVER = {
    "accounts/auditentry",
    "billing/allowance",
    "billing/usagerecord",
    "mcp/approval",
    "mcp/auditedcall",
    "mcp/toolcall",
}


@pytest.mark.parametrize("table", sorted(COUNTED_NEVER))
def test_a_history_is_never_counted(operator: Client, table: str) -> None:
    fill(1)
    with CaptureQueriesContext(connection) as queries:
        operator.get(f"/admin/{table}/")
    name = table.replace("/", "_")
    of_it = [each["sql"] for each in queries if f'FROM "{name}"' in each["sql"]]
    # What was asked further for the requests of a page goes by an index, and is a page's.
    of_it = [sql for sql in of_it if '"parent_id" IN' not in sql]
    assert of_it
    assert all("LIMIT" in sql for sql in of_it)
    assert not [sql for sql in of_it if "COUNT(" in sql or "DISTINCT" in sql]


def test_no_list_counts_a_second_time_what_it_did_not_filter() -> None:
    counting = {
        model._meta.label_lower
        for model, page in admin.site._registry.items()
        if page.show_full_result_count
    }
    assert counting == set()


def test_the_trail_is_filtered_by_actions_of_late(operator: Client) -> None:
    fill(1)
    audit.record("key.made-up", "key:1", audit.SYSTEM, None, {})
    page = operator.get("/admin/accounts/auditentry/", {"action": "key.made-up"})
    found: list[Any] = list(page.context["cl"].result_list)
    assert [entry.action for entry in found] == ["key.made-up"]
    assert AuditEntry.objects.count() == 2
