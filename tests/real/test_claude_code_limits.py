"""What Claude Code's user reads at a limit, and that it does not go on asking."""

import pytest

from accounts.tests.people import Person
from billing.models import Allowance, Plan, Subscription, UsageRecord
from tests.asking import rows
from tests.real.conftest import Claude, Gateway
from tests.real.tap import Tap
from tests.upstream import Upstream

pytestmark = pytest.mark.real


def subscribe(person: Person, **limits: int) -> None:
    plan = Plan.objects.create(code="tight", name="Tight", **limits)
    Subscription.objects.create(organization=person.organization, plan=plan)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"requests_per_day": 1}, "allows 1 request per day, and 1 is used"),
        ({"cost_per_month_nano": 1_000_000_000_000}, "allows $1,000.00 per month"),
        ({"tokens_per_day": 10_000}, "Its input alone is about"),
    ],
)
def test_it_is_told_once_and_shows_what_it_is_told(
    claude: Claude,
    gateway: Gateway,
    upstream: Upstream,
    tapped: Tap,
    alice: Person,
    limits: dict[str, int],
    says: str,
) -> None:
    subscribe(alice, **limits)
    if "requests_per_day" in limits:
        assert claude("hello", url=gateway.url, key=gateway.key).code == 0
        rows(1)
    if "cost_per_month_nano" in limits:
        used_up = Allowance.objects.update  # by what a first request leaves there
        claude("hello", url=gateway.url, key=gateway.key)
        rows(1)
        used_up(cost_nano=1_000_000_000_000)
    asked = len(upstream.requests)
    done = claude("hello", url=tapped.url, key=gateway.key)
    assert done.code == 1
    assert "The plan Tight" in done.stdout
    assert says in done.stdout
    assert tapped.posts == 1
    assert len(upstream.requests) == asked
    assert UsageRecord.objects.count() == asked


def test_it_is_told_that_its_organization_is_suspended(
    claude: Claude, gateway: Gateway, tapped: Tap, alice: Person
) -> None:
    subscribe(alice)
    Subscription.objects.update(state="suspended", reason="the invoice of March is open")
    done = claude("hello", url=tapped.url, key=gateway.key)
    assert done.code == 1
    assert "suspended: the invoice of March is open." in done.stdout
    assert tapped.posts == 1


def test_it_works_within_the_limits_of_a_plan(
    claude: Claude, gateway: Gateway, alice: Person
) -> None:
    subscribe(alice, requests_per_minute=300, tokens_per_day=1_000_000, requests_per_day=1000)
    assert claude("hello", url=gateway.url, key=gateway.key).code == 0
    (row,) = rows(1)
    allowance = Allowance.objects.get()
    assert (allowance.requests, allowance.tokens_held) == (1, 0)
    assert allowance.tokens == row.input_tokens + row.output_tokens
