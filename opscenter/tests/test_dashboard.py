"""The admin's first page: its numbers are the ledger's, and it shows what one may see."""

import json
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.tests.people import Person, alice, charlie
from billing import alarms
from billing.models import Allowance, Plan, Subscription, UsageRecord
from billing.tests.admin import DOLLAR, HTML, operator, staff
from billing.tests.usage_rows import State, keep, row
from mcp.models import Connector
from mcp.tests import machines
from opscenter.dashboard import latest, now, sums
from opscenter.dashboard.page import short

__all__ = ["alice", "charlie", "operator"]

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def at() -> datetime:
    """The middle of the present hour, so that an hour before is in the hour before."""
    return timezone.now().replace(minute=30, second=0, microsecond=0)


@pytest.fixture
def rows(alice: Person, charlie: Person) -> list[UsageRecord]:
    """Requests of two organizations, some of them failed, over three days."""
    present = at()
    made = [
        row(alice, present, cost_nano=2 * DOLLAR, input_tokens=100, cache_read_tokens=300),
        row(alice, present - HOUR, model="qwen", agent="crew", cost_nano=DOLLAR),
        row(charlie, present - 3 * HOUR, state=State.FAILED, error_type="api_error"),
        row(charlie, present - 48 * HOUR, cost_nano=7 * DOLLAR, output_tokens=50),
    ]
    keep(made)
    return made


def columns(found: list[UsageRecord], name: str) -> int:
    return sum(getattr(one, name) for one in found)


@pytest.mark.parametrize("name", ["24h", "7d"])
def test_the_numbers_are_the_ledgers(rows: list[UsageRecord], name: str) -> None:
    wanted, present = sums.RANGES[name], timezone.now()
    within = [one for one in rows if one.admitted_at >= sums.begins(wanted, present)]
    steps = sums.steps(wanted, present)
    total = sums.total(steps)
    assert len(steps) == wanted.steps
    assert total.requests == len(within)
    assert total.failed == sum(one.state == State.FAILED for one in within)
    for column in ("cost_nano", "input_tokens", "output_tokens", "cache_read_tokens"):
        assert getattr(total, column) == columns(within, column)
    for by in ("model", "user_id"):
        top = sums.top(by, wanted, present)
        assert sum(one.amounts.cost_nano for one in top) == total.cost_nano
        assert sum(one.amounts.requests for one in top) == total.requests
    assert [one.name for one in sums.top("agent", wanted, present)] == ["crew"]


def test_a_day_in_utc_is_a_step(rows: list[UsageRecord]) -> None:
    steps = sums.steps(sums.RANGES["7d"], timezone.now())
    assert all(step.starts_at.hour == 0 for step in steps)
    day = rows[-1].admitted_at.astimezone(UTC).date()
    found = next(step for step in steps if step.starts_at.date() == day)
    assert found.amounts.cost_nano >= 7 * DOLLAR


def test_the_hit_rate_is_of_all_that_was_sent(rows: list[UsageRecord]) -> None:
    amounts = sums.Amounts(input_tokens=100, cache_read_tokens=300, cache_write_5m_tokens=200)
    assert amounts.cache_hit_percent == 50
    assert sums.Amounts(output_tokens=5).cache_hit_percent is None


def test_upstreams_are_told_by_their_newest_requests(alice: Person) -> None:
    present = at()
    fast_ones = [row(alice, present, upstream="fast", first_byte_ms=ms) for ms in range(1, 101)]
    failed = row(alice, present, upstream="slow", state=State.FAILED, error_type="overloaded_error")
    stalls = [row(alice, present, upstream="slow", longest_silence_ms=ms) for ms in (4_999, 9_000)]
    keep([*fast_ones, failed, *stalls, row(alice, present, upstream="slow", first_byte_ms=900)])
    fast, slow = latest.answered(present - HOUR, present + HOUR)
    assert (fast.upstream, fast.first_byte_ms, fast.first_byte_slow_ms) == ("fast", 50, 95)
    assert (slow.failed_percent, slow.errors) == (25, "1 overloaded_error")
    assert (slow.stalls, slow.silence_ms) == (1, 9_000)
    assert (fast.stalls, fast.silence_ms) == (0, 0)
    assert latest.answered(present - 2 * HOUR, present - HOUR) == []


def test_it_tells_of_machines_and_their_queue(alice: Person) -> None:
    present = timezone.now()
    laptop = machines.machine(alice)
    Connector.objects.filter(pk=laptop.pk).update(last_seen_at=present, closed_at=None)
    found = now.machines(present)
    assert (found.online, found.queued, found.running, found.oldest_s) == (1, 0, 0, None)
    assert now.machines(present + timedelta(hours=1)).online == 0


def test_it_tells_whose_limits_end(alice: Person, charlie: Person) -> None:
    plan = Plan.objects.create(code="mine", name="Mine", tokens_per_day=1000, requests_per_day=10)
    for person in (alice, charlie):
        Subscription.objects.create(organization=person.organization, plan=plan)
    present = timezone.now()
    for person, tokens in ((alice, 950), (charlie, 100)):
        subject, period = f"user:{person.user.pk}", f"{present:%Y-%m-%d}"
        Allowance.objects.create(
            id=f"{person.organization.pk.hex}/{subject}/{period}",
            organization=person.organization,
            subject=subject,
            period=period,
            tokens=tokens,
            requests=1,
        )
    (found,) = now.near(present)
    assert (found.organization, found.name, found.percent) == ("Acme", "tokens today", 95)


def test_it_shows_all_of_it(
    operator: Client,
    rows: list[UsageRecord],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    alarms.sound(alarms.Code.UNKNOWN_PRICE, HTML)
    User.objects.filter(username="alice").update(username=HTML)
    with django_assert_num_queries(18):
        answer = operator.get("/admin/", {"range": "7d"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert HTML not in page and unescape(page).count(HTML) >= 2
    plot = answer.context["plots"][0]
    drawn = json.loads(plot["data"])
    assert len(drawn["labels"]) == len(plot["rows"]) == 7
    assert sum(sum(one["data"]) for one in drawn["datasets"]) == len(rows)
    for words in ("Machines online", "Limits near their end", "As a table", "crew", "qwen"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("name", ["", "1y", "<b>", "24h"])
def test_any_other_range_is_the_first(operator: Client, name: str) -> None:
    assert operator.get("/admin/", {"range": name}).context["range"].name == "24h"


def test_it_shows_less_to_who_may_see_less(rows: list[UsageRecord]) -> None:
    answer = staff("view_upstream").get("/admin/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Your account may see no usage" in page and "Machines online" not in page


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3 k"), (4_000_000, "4.0 M"), (2 * 10**9, "2.0 G")],
)
def test_counts_are_short(count: int, text: Any) -> None:
    assert short(count) == text
