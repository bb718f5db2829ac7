"""On which terms an organization may use the gateway."""

import uuid

import pytest
from pytest_django import Settings

from accounts.models import Organization
from billing import terms
from billing.models import Plan, PlanAlias, Subscription
from billing.plans import UNLIMITED, Limits, normalized

pytestmark = pytest.mark.django_db


@pytest.fixture
def gold() -> Plan:
    return Plan.objects.create(code="gold", name="Gold", requests_per_day=7, overdraft=True)


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Wonderland")


def test_it_finds_a_plan_by_its_other_names(gold: Plan) -> None:
    PlanAlias.objects.create(code="golden", plan=gold)
    for code in ("gold", "GOLD", "golden", "Golden-Monthly", "gold_yearly"):
        assert terms.plan_of(code) == gold
    assert terms.plan_of("silver") is None
    assert normalized(" VIP-Founder_annual ") == "vip_founder"


def test_it_takes_the_plan_of_the_subscription_and_its_caps(
    gold: Plan, organization: Organization
) -> None:
    Subscription.objects.create(
        organization=organization, plan=gold, tokens_per_day=9, state="suspended", reason="unpaid"
    )
    agreed = terms.read(organization.id)
    assert (agreed.plan, agreed.name, agreed.overdraft) == ("gold", "Gold", True)
    assert (agreed.suspended, agreed.reason, agreed.has_subscription) == (True, "unpaid", True)
    assert agreed.limits == Limits(requests_per_day=7)
    assert agreed.cap == Limits(tokens_per_day=9)


@pytest.mark.parametrize(
    ("default", "limits", "is_unknown"),
    [
        ("gold", Limits(requests_per_day=7), False),
        ("none", UNLIMITED, False),
        ("gone", UNLIMITED, True),
    ],
)
def test_it_takes_the_default_plan_where_there_is_no_subscription(
    gold: Plan, settings: Settings, default: str, limits: Limits, is_unknown: bool
) -> None:
    settings.DEFAULT_PLAN = default
    agreed = terms.read(uuid.uuid4())
    assert (agreed.limits, agreed.is_unknown) == (limits, is_unknown)
    assert not agreed.has_subscription
