"""Limits: reserve before the work, settle after it, never more than there is."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.core.cache import cache
from pytest_django import Settings

from billing import ledger, limits, writer
from billing.ledger import Admission, Closing, State
from billing.limits import BillingSickError, LimitReachedError, Need, SuspendedError
from billing.models import Alarm, Allowance, UsageRecord
from billing.plans import Limits, Terms
from billing.pricing import Charge
from billing.tests.limiting import CHARGE, NOW, PRICE, SUBJECT, begun, ended, refused, terms
from billing.tokens import TokenCounts


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


async def test_it_admits_as_many_requests_as_the_day_has(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(requests_per_day=3)
    outcomes = await asyncio.gather(
        *(begun(admission, agreed) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(one, LimitReachedError) for one in outcomes) == 7
    assert await UsageRecord.objects.acount() == 3
    allowance = await Allowance.objects.aget()
    assert (allowance.requests, allowance.period) == (3, "2026-11-25")
    error = await refused(admission, agreed)
    assert str(error) == (
        "The plan Test allows 3 requests per day, and 3 are used."
        " It begins anew at 2026-11-26T00:00:00Z, in 3 h 20 min."
    )
    assert error.kind == "rate_limit_error"
    assert error.headers["retry-after"] == "12000"
    assert error.headers["x-should-retry"] == "false"
    assert error.headers["anthropic-ratelimit-unified-status"] == "rejected"
    assert error.headers["anthropic-ratelimit-requests-remaining"] == "0"


async def test_it_never_holds_more_tokens_than_there_are(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(tokens_per_day=100)
    outcomes = await asyncio.gather(
        *(begun(admission, agreed) for _ in range(10)), return_exceptions=True
    )
    held = [one for one in outcomes if isinstance(one, tuple)]
    assert len(held) == 3  # of 30 each
    allowance = await Allowance.objects.aget()
    assert (allowance.requests, allowance.tokens, allowance.tokens_held) == (3, 0, 90)
    error = await refused(admission, agreed)
    assert "0 tokens used, 90 tokens held by requests under way" in str(error)
    assert "There may be room once those have ended." in str(error)
    assert error.headers["retry-after"] == "5"
    assert "x-should-retry" not in error.headers
    for one, _ in held:
        await ended(one, TokenCounts(input_tokens=9, output_tokens=1, cache_read_tokens=500))
    await allowance.arefresh_from_db()
    assert (allowance.tokens, allowance.tokens_held) == (30, 0)
    assert (allowance.cost_nano, allowance.cost_held_nano) == (33, 0)


async def test_it_says_what_to_do_when_a_request_is_too_large_for_the_whole_day(
    writing: writer.Writer, admission: Admission
) -> None:
    error = await refused(
        admission, terms(tokens_per_day=10_000), Need(input_tokens=500, max_tokens=32_000)
    )
    assert str(error) == (
        "The plan Test allows 10,000 tokens per day: 0 tokens used, and this request may need up"
        " to 32,500 tokens, more than all of it. A smaller max_tokens needs less"
        " (CLAUDE_CODE_MAX_OUTPUT_TOKENS in Claude Code)."
    )
    assert error.headers["x-should-retry"] == "false"


async def test_it_lets_one_more_begin_with_an_overdraft_while_anything_is_left(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(tokens_per_day=100, overdraft=True)
    started = [await begun(admission, agreed) for _ in range(4)]  # 30 each: the fourth is over
    error = await refused(admission, agreed)
    assert "0 tokens used, 120 tokens held by requests under way. There may be room" in str(error)
    assert error.headers["retry-after"] == "5"
    for one, _ in started:
        await ended(one, TokenCounts(output_tokens=24))
    started = [await begun(admission, agreed)]  # 4 are left
    await ended(started[0][0], TokenCounts(output_tokens=30))
    error = await refused(admission, agreed)
    assert "100 tokens per day: 126 tokens used. It begins anew" in str(error)
    assert error.headers["x-should-retry"] == "false"


async def test_it_begins_a_new_limit_with_what_was_used_before(
    writing: writer.Writer, admission: Admission
) -> None:
    unlimited = terms()
    for counts in (TokenCounts(output_tokens=60), TokenCounts(input_tokens=20)):
        one, _ = await begun(admission, unlimited)
        await ended(one, counts)
    capped = terms(cap=Limits(tokens_per_day=100, requests_per_day=9, cost_per_month_nano=10**9))
    error = await refused(admission, capped)
    assert "Your organization's cap allows 100 tokens per day: 80 tokens used" in str(error)
    await begun(admission, capped, Need(input_tokens=10, max_tokens=10), subject="user:2")
    rows = {row.period: row async for row in Allowance.objects.all()}
    assert (rows["2026-11-25"].requests, rows["2026-11-25"].tokens) == (3, 80)
    assert rows["2026-11"].cost_nano == 140


async def test_it_keeps_a_budget_of_money_in_the_month(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(cost_per_month_nano=60)
    one, _ = await begun(admission, agreed)  # may cost 10 + 40
    error = await refused(admission, agreed)
    assert error.kind == "billing_error"
    assert "x-should-retry" not in error.headers
    await ended(one, TokenCounts(output_tokens=29))
    error = await refused(admission, agreed)
    assert "begins anew at 2026-12-01T00:00:00Z" in str(error)
    assert (await Allowance.objects.aget()).period == "2026-11"


async def test_it_reserves_what_the_dearest_that_may_answer_costs(
    writing: writer.Writer, admission: Admission
) -> None:
    dear = Charge(price=replace(PRICE, output_nano=5_000_000, input_nano=9_000_000), is_known=True)
    need = Need(input_tokens=10, max_tokens=20)
    agreed = terms(cost_per_day_nano=1000)
    one = limits.prepared(admission, SUBJECT, agreed, need, [CHARGE, dear])
    assert one.reservation is not None
    assert one.reservation.cost_nano == 10 * 9 + 20 * 5


async def test_it_takes_nothing_from_anybody_when_one_limit_of_several_refuses(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(
        requests_per_day=10,
        requests_per_minute=100,
        cost_per_month_nano=10**9,
        cap=Limits(tokens_per_day=30),
    )
    await begun(admission, agreed)
    error = await refused(admission, agreed, subject="user:2")
    assert "Your organization's cap allows 30 tokens" in str(error)
    rows = {row.subject + row.period: row async for row in Allowance.objects.all()}
    assert rows["user:12026-11-25"].requests == rows["organization2026-11-25"].requests == 1
    for period in ("2026-11-25", "2026-11"):
        empty = rows[f"user:2{period}"]
        assert (empty.requests, empty.tokens_held, empty.cost_held_nano) == (0, 0, 0)
    assert await UsageRecord.objects.acount() == 1
    _, headers = await begun(admission, terms(requests_per_minute=100), subject="user:2")
    assert headers["anthropic-ratelimit-requests-remaining"] == "99"  # the refused one is forgiven


async def test_it_counts_users_apart_and_an_organization_together(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(requests_per_day=1, cap=Limits(requests_per_day=2))
    await begun(admission, agreed, subject="user:1")
    await refused(admission, agreed, subject="user:1")
    await begun(admission, agreed, subject="key:abc")
    assert "organization's cap" in str(await refused(admission, agreed, subject="user:3"))


async def test_it_refuses_by_the_minute_without_counting_what_it_refuses(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(requests_per_minute=2)
    remaining = [
        (await begun(admission, agreed))[1]["anthropic-ratelimit-requests-remaining"]
        for _ in range(2)
    ]
    assert remaining == ["1", "0"]
    for _ in range(3):
        error = await refused(admission, agreed)
        assert error.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert 1 <= int(error.headers["retry-after"]) <= 60
        assert "x-should-retry" not in error.headers
    _, headers = await begun(admission, terms(requests_per_minute=3))
    assert headers["anthropic-ratelimit-requests-limit"] == "3"
    assert await UsageRecord.objects.acount() == 3


async def test_it_warns_from_three_quarters_on(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed, said = terms(requests_per_day=20), []
    admission = replace(admission, admitted_at=datetime.now(UTC))
    for _ in range(20):
        one = replace(admission, id=ledger.new_id())
        one = limits.prepared(one, SUBJECT, agreed, Need(input_tokens=1, max_tokens=1), [CHARGE])
        said.append(await limits.admit(one, SUBJECT, agreed))
    name = "anthropic-ratelimit-unified"
    assert said[13][f"{name}-status"] == "allowed"
    assert said[14][f"{name}-status"] == "allowed_warning"
    assert said[14][f"{name}-overage-surpassed-threshold"] == "0.75"
    assert said[18][f"{name}-overage-surpassed-threshold"] == "0.95"


async def test_it_says_nothing_of_limits_where_there_are_none(
    writing: writer.Writer, admission: Admission
) -> None:
    one, headers = await begun(admission, terms())
    assert headers == {}
    assert one.reservation is None
    assert not await Allowance.objects.aexists()


def test_it_lets_nobody_of_a_suspended_organization_begin(admission: Admission) -> None:
    agreed = terms(suspended=True, reason="the invoice of March is open")
    with pytest.raises(SuspendedError, match=r"suspended: the invoice of March is open\."):
        limits.prepared(admission, SUBJECT, agreed, Need(input_tokens=1, max_tokens=1), [CHARGE])


UNKNOWN = Charge(price=PRICE, is_known=False)


@pytest.mark.parametrize(
    ("agreed", "charge", "says"),
    [
        (terms(is_unknown=True), CHARGE, "The plan t is not there"),
        (terms(), UNKNOWN, "There is no price for qwen"),
    ],
)
async def test_it_goes_on_while_billing_is_sick_unless_told_otherwise(
    writing: writer.Writer,
    admission: Admission,
    settings: Settings,
    agreed: Terms,
    charge: Charge,
    says: str,
) -> None:
    await begun(admission, agreed, charge=charge)
    settings.BILLING_FAIL_CLOSED = True
    with pytest.raises(BillingSickError, match=says):
        await begun(admission, agreed, charge=charge)


async def test_it_sounds_an_alarm_for_a_plan_that_is_not_there(
    writing: writer.Writer, admission: Admission
) -> None:
    for _ in range(3):
        await begun(admission, terms(is_unknown=True))
    await writing.drain()
    alarm = await Alarm.objects.aget()
    assert (alarm.code, alarm.subject, alarm.count) == (Alarm.Code.UNKNOWN_PLAN, "t", 3)


async def test_it_releases_what_a_client_held_that_left_while_it_was_admitted(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(tokens_per_day=100)
    one = replace(admission, admitted_at=NOW)
    one = limits.prepared(one, SUBJECT, agreed, Need(input_tokens=1, max_tokens=1), [CHARGE])
    admitting = asyncio.create_task(limits.admit(one, SUBJECT, agreed))
    await asyncio.sleep(0)  # the row is on its way
    admitting.cancel()
    await asyncio.gather(admitting, return_exceptions=True)
    await ended(one, TokenCounts())
    allowance = await Allowance.objects.aget()
    assert (allowance.requests, allowance.tokens_held, allowance.cost_held_nano) == (1, 0, 0)


async def test_it_settles_once_although_two_say_how_it_ended(
    writing: writer.Writer, admission: Admission
) -> None:
    agreed = terms(tokens_per_day=100)
    one, _ = await begun(admission, agreed)
    other, _ = await begun(admission, agreed)
    await ended(one, TokenCounts(input_tokens=5))
    closing = Closing(state=State.FAILED, duration_ms=1, upstream="", target_model="")
    ledger.close(one, closing)  # somebody else was faster; in one batch with one that is not late
    await ended(other, TokenCounts(input_tokens=6))
    allowance = await Allowance.objects.aget()
    assert (allowance.tokens, allowance.tokens_held) == (11, 0)
    states = [row.state async for row in UsageRecord.objects.order_by("id")]
    assert states == ["completed", "completed"]
    assert await Alarm.objects.filter(code=Alarm.Code.LOST_CLOSING).acount() == 1
