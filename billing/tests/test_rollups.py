"""The sums that are added to as rows close: the same as those of all rows at once."""

from typing import Any

from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.tests.people import Person
from billing import rollups
from billing.models import UsageRecord, UsageRollup, UsageSession
from billing.rollups import Use
from billing.tests.usage_rows import NOON, TOKENS, State, keep_sums, row
from billing.tokens import TokenCounts
from billing.usage import DAY, HOUR

STATES = (State.COMPLETED, State.FAILED, State.CORRECTION)
MOMENTS = (NOON, NOON + HOUR, NOON + DAY, NOON + 10 * DAY)


def use(each: UsageRecord) -> Use:
    return Use(
        organization_id=each.organization_id,
        user_id=each.user_id,
        api_key_id=each.api_key_id,
        model=each.requested_model,
        agent=each.agent,
        session_id=each.session_id,
        tags=each.tags or (),
        admitted_at=each.admitted_at,
        counts=TokenCounts(
            server_tool_uses=each.server_tool_uses,
            **{name: getattr(each, name) for name in TOKENS},
        ),
        cost_nano=each.cost_nano,
        tool_calls=each.tool_calls,
        duration_ms=each.duration_ms or 0,
        failed=each.state == State.FAILED,
        is_correction=each.state == State.CORRECTION,
    )


def kept() -> list[list[tuple[Any, ...]]]:
    """All sums, without the ids of their rows."""
    found = []
    for table in (UsageRollup, UsageSession):
        names = [field.attname for field in table._meta.concrete_fields if field.name != "id"]
        found.append(sorted(table._default_manager.values_list(*names)))
    return found


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    drawn=st.lists(
        st.fixed_dictionaries(
            {
                "who": st.integers(0, 2),
                "at": st.sampled_from(MOMENTS),
                "state": st.sampled_from(STATES),
                "model": st.sampled_from(["opus", "haiku"]),
                "agent": st.sampled_from(["", "planner"]),
                "session_id": st.sampled_from(["", "one", "two"]),
                "tags": st.sampled_from([None, ["a"], ["a", "b"]]),
                "cost_nano": st.integers(-(10**12), 10**12),
                "input_tokens": st.integers(0, 10**6),
                "cache_write_1h_tokens": st.integers(0, 10**6),
                "tool_calls": st.integers(0, 9),
            }
        ),
        max_size=10,
    ),
    batch=st.integers(1, 4),
)
def test_it_adds_to_the_same_sums_in_batches_as_at_once(
    alice: Person, bob: Person, charlie: Person, drawn: list[dict[str, Any]], batch: int
) -> None:
    people = (alice, bob, charlie)
    rows = [row(people[each.pop("who")], **each) for each in map(dict, drawn)]
    with transaction.atomic():
        keep_sums(rows)
        expected = kept()
        transaction.set_rollback(True)
    with transaction.atomic():
        with connection.cursor() as cursor:
            for at in range(0, len(rows), batch):
                rollups.add(cursor, [use(each) for each in rows[at : at + batch]])
        assert kept() == expected
        transaction.set_rollback(True)
