"""Questions to the sums: their answers are those that the ledger itself would give."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.tests.people import Person
from billing import usage
from billing.models import UsageRecord
from billing.tests.usage_rows import NOON, State, keep, row
from billing.usage import DAY, GRAINS, HOUR, Kind, Question

OCTOBER, NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12))
BEGIN = datetime(2026, 9, 28, tzinfo=UTC)
HOURS = 70 * 24  # two whole months, and ends of two more, lie in these


def ask(*group_by: str, **more: Any) -> usage.Answer:
    values: dict[str, Any] = {"starts_at": NOVEMBER, "ends_at": DECEMBER, "limit": 1_000}
    return usage.ask(Question(group_by=group_by, **values | more))


def plain(rows: Sequence[UsageRecord], group_by: Sequence[str]) -> list[tuple[Any, ...]]:
    """Every group and what it cost, added up row by row.

    Sessions of two users or organizations are two groups, although they may be called the same.
    """
    found: dict[tuple[tuple[Any, ...], tuple[Any, ...]], int] = defaultdict(int)
    for each in rows:
        hour = each.admitted_at.replace(minute=0, second=0, microsecond=0)
        own = {
            "hour": [hour],
            "day": [hour.replace(hour=0)],
            "organization": [each.organization_id],
            "user": [each.user_id],
            "key": [each.api_key_id],
            "model": [each.requested_model],
            "agent": [each.agent],
            "session": [each.session_id] if each.session_id else [],
            "tag": each.tags or [],
        }
        names: list[tuple[Any, ...]] = [()]
        for field in group_by:
            names = [(*name, value) for name in names for value in own[field]]
        whose = (each.organization_id, each.user_id) if "session" in group_by else ()
        for name in names:
            found[name, whose] += each.cost_nano
    return sorted((*name, cost) for (name, _), cost in found.items())


GROUPINGS = [
    *[(name,) for name in usage.COLUMNS],
    *[("day", name) for name in usage.COLUMNS if name not in usage.TIMES],
    *[("hour", "model"), ("user", "key"), ("model", "agent"), ("user", "tag"), ("session", "user")],
]


@st.composite
def ledgers(draw: st.DrawFn) -> list[dict[str, Any]]:
    return draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "at": st.integers(0, HOURS * 60 - 1),
                    "who": st.integers(0, 2),
                    "key": st.sampled_from(["first0000000", "second000000"]),
                    "model": st.sampled_from(["opus", "haiku"]),
                    "agent": st.sampled_from(["", "planner"]),
                    "session_id": st.sampled_from(["", "one", "two"]),
                    "tags": st.sampled_from([None, ["a"], ["a", "b"]]),
                    "cost_nano": st.integers(0, 10**12),
                    "open": st.booleans(),
                }
            ),
            max_size=12,
        )
    )


def ranges() -> st.SearchStrategy[tuple[datetime, datetime]]:
    hours = st.tuples(st.integers(0, HOURS - 1), st.integers(1, HOURS))
    return st.one_of(
        st.sampled_from([(OCTOBER, NOVEMBER), (NOVEMBER, DECEMBER), (OCTOBER, DECEMBER)]),
        hours.map(lambda hour: (BEGIN + hour[0] * HOUR, BEGIN + sum(hour) * HOUR)),
    )


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    drawn=ledgers(),
    between=ranges(),
    group_by=st.sampled_from(GROUPINGS),
    whose=st.sampled_from(["everybody's", "an organization's", "a user's"]),
)
def test_it_answers_as_the_ledger_would(
    alice: Person,
    bob: Person,
    charlie: Person,
    drawn: list[dict[str, Any]],
    between: tuple[datetime, datetime],
    group_by: tuple[str, ...],
    whose: str,
) -> None:
    people = (alice, bob, charlie)
    rows = []
    for each in drawn:
        values = dict(each)
        more = {"state": State.ADMITTED, "closed_at": None} if values.pop("open") else {}
        at = BEGIN + timedelta(minutes=values.pop("at"))
        rows.append(row(people[values.pop("who")], at, **values | more))
    organization = alice.organization.pk if whose == "an organization's" else None
    user_id = alice.user.pk if whose == "a user's" else None
    starts_at, ends_at = between
    with transaction.atomic():
        keep(rows)
        answer = ask(
            *group_by,
            starts_at=starts_at,
            ends_at=ends_at,
            organization_id=organization,
            user_id=user_id,
        )
        transaction.set_rollback(True)
    covered = [
        each
        for each in rows
        if each.closed_at is not None
        and answer.question.starts_at <= each.admitted_at < answer.question.ends_at
        and organization in (None, each.organization_id)
        and user_id in (None, each.user_id)
    ]
    given_back = [(*group.by.values(), group.amounts["cost_nano"]) for group in answer.groups]
    assert sorted(given_back) == plain(covered, group_by)
    assert answer.totals["cost_nano"] == sum(each.cost_nano for each in covered)
    assert answer.totals["requests"] == len(covered)
    assert answer.question.starts_at <= starts_at
    grain = DAY if {"session", "tag"} & set(group_by) else HOUR
    assert starts_at - answer.question.starts_at < grain


def test_it_sums_every_class_of_tokens_and_corrections_too(alice: Person) -> None:
    first = row(
        alice,
        input_tokens=1,
        output_tokens=2,
        cache_read_tokens=3,
        cache_write_5m_tokens=4,
        cache_write_1h_tokens=5,
        server_tool_uses=6,
        tool_calls=7,
        cost_nano=8,
        duration_ms=9,
        estimated=True,
        state=State.FAILED,
    )
    amounts: dict[str, Any] = {"input_tokens": -1, "cost_nano": -3, "duration_ms": None}
    correction = row(alice, state=State.CORRECTION, corrects_id=first.id, **amounts)
    keep([first, correction])
    assert ask("user").totals == {
        "requests": 1,
        "failed": 1,
        "estimated": 1,
        "input_tokens": 0,
        "output_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_5m_tokens": 4,
        "cache_write_1h_tokens": 5,
        "server_tool_uses": 6,
        "tool_calls": 7,
        "cost_nano": 5,
        "duration_ms": 9,
    }


def test_it_lists_the_costliest_first_and_says_that_there_are_more(alice: Person) -> None:
    keep([row(alice, model=f"model-{n}", cost_nano=n) for n in range(5)])
    answer = ask("model", limit=2)
    assert [group.by["model"] for group in answer.groups] == ["model-4", "model-3"]
    assert answer.has_more
    assert (answer.totals["cost_nano"], answer.totals["requests"]) == (10, 5)
    assert not ask("model", limit=5).has_more


@pytest.mark.parametrize("ends_at", [DECEMBER, DECEMBER - DAY])
def test_it_lists_the_costliest_sessions_of_a_month_as_those_of_days(
    alice: Person, bob: Person, charlie: Person, ends_at: datetime
) -> None:
    keep(
        [
            *(row(alice, NOON, session_id=f"session-{n}", cost_nano=n) for n in range(4)),
            *(row(who, NOON - DAY, session_id="session-0", cost_nano=9) for who in (bob, charlie)),
            row(alice, NOON - 2 * DAY, session_id="session-1", cost_nano=3),
            row(alice, NOVEMBER - HOUR, session_id="session-0", cost_nano=10**9),
            row(alice, cost_nano=100),
        ]
    )
    answer = ask("session", limit=4, ends_at=ends_at)
    found = [(group.by["session"], group.amounts["cost_nano"]) for group in answer.groups]
    # One name, but three people's.
    expected = [("session-0", 9), ("session-0", 9), ("session-1", 4), ("session-3", 3)]
    assert found == expected
    assert answer.has_more
    assert (answer.totals["cost_nano"], answer.totals["requests"]) == (127, 8)
    own = ask("session", "user", ends_at=ends_at, organization_id=alice.organization.pk)
    assert [group.by["user"] for group in own.groups] == [bob.user.pk, *[alice.user.pk] * 4]


@pytest.mark.parametrize(
    ("whose", "index"), [("all", "dearest_session_of_all"), ("one", "dearest_session_of_one")]
)
def test_it_reads_no_more_sessions_of_a_month_than_it_shows(
    alice: Person, whose: str, index: str
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Other databases plan by how many rows there are.")
    organization = alice.organization.pk if whose == "one" else None
    with CaptureQueriesContext(connection) as queries:
        ask("session", organization_id=organization)
    asked = next(query["sql"] for query in queries if "billing_usagesession" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked}")
        plan = [step[-1] for step in cursor.fetchall()]
    assert len(plan) == 1, "nothing is sorted"
    assert f"USING INDEX {index}" in plan[0]


def test_it_lists_times_in_their_order(alice: Person) -> None:
    keep([row(alice, NOON - n * DAY, cost_nano=n) for n in (0, 2, 1)])
    days = [group.by["day"].day for group in ask("day").groups]
    assert days == [23, 24, 25]


def test_it_filters_by_user_model_and_key(alice: Person, bob: Person) -> None:
    keep(
        [
            row(alice, model="opus", key="first0000000", cost_nano=1),
            row(alice, model="haiku", key="second000000", cost_nano=2),
            row(bob, model="opus", key="third0000000", cost_nano=4),
        ]
    )
    costs = [
        ask("day", **one).totals["cost_nano"]
        for one in ({"user_id": alice.user.pk}, {"model": "opus"}, {"key": "second000000"})
    ]
    assert costs == [3, 5, 2]


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "kinds"),
    [
        (NOVEMBER, DECEMBER, [Kind.MONTH]),
        (NOON, NOON + 3 * HOUR, [Kind.HOUR]),
        (NOON, NOON + 3 * DAY, [Kind.HOUR, Kind.DAY, Kind.HOUR]),
        (
            NOVEMBER - 2 * DAY - HOUR,
            DECEMBER + DAY + HOUR,
            [Kind.HOUR, Kind.DAY, Kind.MONTH, Kind.DAY, Kind.HOUR],
        ),
        (datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), [Kind.HOUR]),
    ],
)
def test_it_takes_the_coarsest_rows_that_fit(
    starts_at: datetime, ends_at: datetime, kinds: list[Kind]
) -> None:
    parts = usage.stretches(starts_at, ends_at, GRAINS)
    assert [part[0] for part in parts] == kinds
    edges = [edge for part in parts for edge in part[1:]]
    assert edges[0] == starts_at and edges[-1] == ends_at
    assert edges[1:-1:2] == edges[2:-1:2], "the parts leave no gap and do not overlap"


@pytest.mark.parametrize("group_by", ["hour", "day", "tag"])
def test_it_keeps_organizations_apart_in_sums_of_all(
    alice: Person, charlie: Person, group_by: str
) -> None:
    keep([row(alice, cost_nano=1), row(charlie, cost_nano=2)])
    own = ask(group_by, organization_id=alice.organization.pk)
    both = ask(group_by)
    assert [answer.totals["cost_nano"] for answer in (own, both)] == [1, 3]
