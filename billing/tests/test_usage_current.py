"""GET /api/v1/usage/current: where the caller stands with their limits."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.principal import USAGE_READ
from accounts.tests.people import Person
from billing import current
from billing.models import Allowance, Plan, Subscription
from billing.plans import UNLIMITED, Limits
from billing.tests.usage_rows import NOON, keep, row

URL = "/api/v1/usage/current"


def subscribe(person: Person, **more: Any) -> Subscription:
    plan, _ = Plan.objects.get_or_create(code="starter")
    Plan.objects.filter(pk=plan.pk).update(
        requests_per_day=1_000, tokens_per_day=100_000, cost_per_month_nano=5_000
    )
    return Subscription.objects.create(organization=person.organization, plan=plan, **more)


def counted(person: Person, subject: str, period: str, **amounts: int) -> None:
    Allowance.objects.create(
        id=f"{person.organization.pk.hex}/{subject}/{period}",
        organization=person.organization,
        subject=subject,
        period=period,
        **amounts,
    )


def test_it_shows_limits_and_what_is_left_of_them(alice: Person, bob: Person) -> None:
    subscribe(alice, requests_per_day=5_000)
    now = timezone.now()
    today, me = f"{now:%Y-%m-%d}", f"user:{bob.user.pk}"
    counted(alice, me, today, requests=12, tokens=90_000, tokens_held=20_000)
    counted(alice, me, f"{now:%Y-%m}", cost_nano=1_000, cost_held_nano=500)
    counted(alice, f"user:{alice.user.pk}", today, requests=99)
    answer = bob.signed_in().get(URL).json()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = f"{midnight + timedelta(days=1):%Y-%m-%d}T00:00:00Z"
    next_month = f"{midnight.replace(day=1) + timedelta(days=32):%Y-%m}-01T00:00:00Z"
    day = {"held": 0, "resets_at": tomorrow}
    assert answer == {
        "organization": str(alice.organization.pk),
        "subject": me,
        "plan": {"code": "starter", "name": "Starter"},
        "state": "active",
        "reason": "",
        "limits": {
            "requests_per_minute": {"limit": 60},
            "requests_per_day": {"limit": 1_000, "used": 12, "remaining": 988, **day},
            "tokens_per_day": {
                "limit": 100_000,
                "used": 90_000,
                "held": 20_000,
                "remaining": 0,
                "resets_at": tomorrow,
            },
            "cost_per_day_nano": {"limit": None, "used": 0, "remaining": None, **day},
            "cost_per_month_nano": {
                "limit": 5_000,
                "used": 1_000,
                "held": 500,
                "remaining": 3_500,
                "resets_at": next_month,
            },
        },
        "organization_limits": None,
        "api_calls_used": 12,
        "api_calls_limit": 1_000,
        "reset_date": tomorrow,
        "subscription": {"tier": "starter", "tier_name": "Starter", "status": "active"},
        "user": {"username": "bob"},
    }


def test_it_shows_owners_the_caps_of_the_organization(alice: Person) -> None:
    subscribe(alice, requests_per_day=5_000, state="suspended", reason="No money.")
    counted(alice, "organization", f"{timezone.now():%Y-%m-%d}", requests=111)
    answer = alice.signed_in().get(URL).json()
    assert answer["organization_limits"]["requests_per_day"]["remaining"] == 4_889
    assert (answer["state"], answer["reason"]) == ("suspended", "No money.")
    assert answer["subscription"]["status"] == "suspended"
    assert answer["limits"]["requests_per_day"]["used"] == 0


def test_it_shows_what_is_used_without_limits(alice: Person, bob: Person) -> None:
    now = timezone.now()
    keep(
        [
            row(alice, now, input_tokens=1, output_tokens=2, cache_read_tokens=4, cost_nano=9),
            row(bob, now, cost_nano=1),
        ]
    )
    answer = alice.signed_in().get(URL).json()
    assert answer["plan"]["code"] == "none"
    assert (answer["api_calls_used"], answer["api_calls_limit"]) == (1, -1)
    limits = answer["limits"]
    assert (limits["tokens_per_day"]["used"], limits["tokens_per_day"]["remaining"]) == (3, None)
    assert limits["cost_per_month_nano"]["used"] == 9
    assert answer["organization_limits"]["cost_per_month_nano"]["used"] == 10


def test_it_counts_service_keys_for_themselves(alice: Person) -> None:
    service, own = alice.key("robot")[0], alice.key("laptop")[0]
    ApiKey.objects.filter(pk=service.pk).update(is_service=True)
    keep([row(alice, key=service.pk, cost_nano=1), row(alice, key=own.pk, cost_nano=2)])

    def cost(subject: str) -> int:
        found = current.of(alice.organization.pk, subject, UNLIMITED, now=NOON)
        return found[-1].used

    assert cost(f"key:{service.pk}") == 1
    assert cost(f"user:{alice.user.pk}") == 2
    assert cost("organization") == 3


def test_it_looks_at_the_present_day_and_month_alone(alice: Person) -> None:
    me = f"user:{alice.user.pk}"
    counted(alice, me, "2026-11-24", requests=5)
    counted(alice, me, "2026-10", cost_nano=5)
    limits = Limits(requests_per_day=10, cost_per_month_nano=10)
    found = current.of(alice.organization.pk, me, limits, now=NOON)
    assert [each.used for each in found] == [0, 0, 0, 0]
    assert [f"{each.resets_at:%m-%d}" for each in found] == ["11-26"] * 3 + ["12-01"]


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
def test_it_shows_a_service_key_its_own(alice: Person) -> None:
    subscribe(alice)
    key, plaintext = alice.key("robot", [USAGE_READ])
    ApiKey.objects.filter(pk=key.pk).update(is_service=True)
    counted(alice, f"key:{key.pk}", f"{timezone.now():%Y-%m-%d}", requests=3)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
    answer = client.get(URL).json()
    assert (answer["subject"], answer["api_calls_used"]) == (f"key:{key.pk}", 3)


@pytest.mark.parametrize(("is_owner", "count"), [(True, 9), (False, 7)])
def test_it_asks_the_database_a_fixed_number_of_times(
    alice: Person,
    bob: Person,
    django_assert_num_queries: DjangoAssertNumQueries,
    is_owner: bool,
    count: int,
) -> None:
    subscribe(alice)
    client = (alice if is_owner else bob).signed_in()
    # Session, user, membership, plan, allowances, and the sums of the day and the month for want
    # of any; an owner's caps, of which there are none here, are two more sums.
    with django_assert_num_queries(count):
        client.get(URL)
