"""What was charged by the default is charged again, once."""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.tests.people import Person, alice, bob
from billing import ledger, rerate
from billing.models import OutboxEvent, Price, UsageRecord, UsageRollup
from billing.rerate import Scope, correction_id, rerated

__all__ = ["alice", "bob"]

DAY = datetime(2026, 10, 1, tzinfo=UTC)
State = UsageRecord.State
Row = Callable[..., UsageRecord]


@pytest.fixture
def default(db: None) -> Price:
    Price.objects.all().delete()
    return priced("*", 15, is_default=True)


def priced(pattern: str, dollars: int, **more: Any) -> Price:
    nano = dollars * 10**9
    fields: dict[str, Any] = {"valid_from": DAY} | more
    return Price.objects.create(
        pattern=pattern,
        input_nano=nano,
        output_nano=5 * nano,
        cache_read_nano=nano // 10,
        cache_write_5m_nano=nano,
        cache_write_1h_nano=nano,
        **fields,
    )


@pytest.fixture
def row(alice: Person, default: Price) -> Row:
    key, _ = alice.key()

    def make(model: str = "qwen3", tokens: int = 1000, **more: Any) -> UsageRecord:
        fields: dict[str, Any] = {
            "state": State.COMPLETED,
            "unpriced": True,
            "price": default,
            "input_tokens": tokens,
            "cost_nano": tokens * 15_000,
            "admitted_at": DAY + timedelta(days=1),
            "closed_at": DAY + timedelta(days=1, seconds=9),
            "served_model": "",
        } | more
        if fields["state"] == State.ADMITTED:
            fields["closed_at"] = None
        return UsageRecord.objects.create(
            id=ledger.new_id(),
            organization=alice.organization,
            user=alice.user,
            api_key=key,
            requested_model="claude-opus-5-5",
            target_model=model,
            upstream="box",
            route="claude-*",
            session_id="s1",
            agent_id="a1",
            parent_agent_id="a0",
            agent="coder",
            tags=["x"],
            streamed=True,
            **fields,
        )

    return make


def corrections(*, of: UsageRecord | None = None) -> list[UsageRecord]:
    found = UsageRecord.objects.filter(state=State.CORRECTION).order_by("corrects_id")
    return list(found if of is None else found.filter(corrects=of))


def test_it_appends_the_difference_and_leaves_the_row_as_it_is(row: Row) -> None:
    wrong = row(output_tokens=100, cost_nano=1000 * 15_000 + 100 * 75_000)
    price = priced("qwen3*", 2)
    rerated(Scope())
    (correction,) = corrections()
    # 1,000 x 2,000 + 100 x 10,000 = 3,000,000 instead of 15,000,000 + 7,500,000 = 22,500,000
    assert correction.cost_nano == 3_000_000 - 22_500_000
    assert (correction.corrects_id, correction.price_id) == (wrong.pk, price.pk)
    assert correction.admitted_at == correction.closed_at
    assert (correction.flags, correction.unpriced) == ("rerated", False)
    assert (correction.input_tokens, correction.output_tokens) == (0, 0)
    same = (
        *("organization_id", "user_id", "api_key_id", "requested_model", "target_model"),
        *("served_model", "upstream", "route", "session_id", "agent", "agent_id"),
        *("parent_agent_id", "tags", "own_credential", "streamed"),
    )
    assert [getattr(correction, name) for name in same] == [getattr(wrong, name) for name in same]
    again = UsageRecord.objects.get(pk=wrong.pk)
    assert (again.cost_nano, again.unpriced, again.price_id) == (22_500_000, True, wrong.price_id)


def test_it_corrects_nothing_the_second_time(row: Row) -> None:
    row()
    priced("qwen3*", 2)
    assert len(rerated(Scope()).moved) == 1
    priced("qwen3*", 1, valid_from=DAY + timedelta(hours=1))  # the correction stands all the same
    assert rerated(Scope()).moved == {}
    assert len(corrections()) == 1


def test_it_takes_the_price_of_when_the_request_was_admitted(row: Row) -> None:
    wrong = row()
    priced("qwen3", 2)
    priced("qwen3", 1, valid_from=wrong.admitted_at + timedelta(seconds=1))
    rerated(Scope())
    assert corrections()[0].cost_nano == 2_000_000 - 15_000_000


def test_it_takes_the_price_of_now_when_it_is_told_to(row: Row) -> None:
    row()
    priced("qwen3", 1, valid_from=DAY + timedelta(days=2))
    assert rerated(Scope()).unknown == {("qwen3", "box"): 1}
    assert corrections() == []
    rerated(Scope(at_present_prices=True))
    assert corrections()[0].cost_nano == 1_000_000 - 15_000_000


def test_it_may_charge_more_too_and_marks_what_was_right_by_chance(row: Row) -> None:
    cheap, right = row(cost_nano=1), row(cost_nano=2_000_000)
    priced("qwen3", 2)
    rerated(Scope())
    assert corrections(of=cheap)[0].cost_nano == 1_999_999
    assert corrections(of=right)[0].cost_nano == 0


def test_it_knows_a_model_by_what_was_served_as_well(row: Row) -> None:
    row("my-alias", served_model="qwen3")
    priced("qwen3", 2)
    rerated(Scope())
    assert len(corrections()) == 1


def test_it_counts_what_other_corrections_added(row: Row) -> None:
    wrong = row()
    UsageRecord.objects.create(
        id=ledger.new_id(),
        state=State.CORRECTION,
        corrects=wrong,
        organization_id=wrong.organization_id,
        user_id=wrong.user_id,
        api_key_id=wrong.api_key_id,
        target_model=wrong.target_model,
        upstream=wrong.upstream,
        streamed=True,
        input_tokens=-400,
        cost_nano=-400 * 15_000,
        admitted_at=DAY + timedelta(days=2),
        closed_at=DAY + timedelta(days=2),
    )
    priced("qwen3", 2)
    rerated(Scope())
    assert sum(each.cost_nano for each in (wrong, *corrections())) == 600 * 2_000


@pytest.mark.parametrize(
    "other",
    [
        {"unpriced": False},
        {"own_credential": True, "cost_nano": 0},
        {"state": State.ADMITTED},
    ],
)
def test_it_leaves_alone(row: Row, other: dict[str, Any]) -> None:
    row(**other)
    priced("qwen3", 2)
    outcome = rerated(Scope())
    assert (outcome.moved, outcome.unknown, corrections()) == ({}, {}, [])


def test_it_takes_what_failed_or_was_interrupted_as_well(row: Row) -> None:
    row(state=State.FAILED)
    row(state=State.INTERRUPTED)
    priced("qwen3", 2)
    rerated(Scope())
    assert len(corrections()) == 2


def test_it_keeps_to_its_scope(row: Row) -> None:
    first, second = row(), row("other", admitted_at=DAY + timedelta(days=3))
    priced("*", 2)
    rerated(Scope(until=first.admitted_at))
    rerated(Scope(since=second.admitted_at + timedelta(microseconds=1)))
    rerated(Scope(model="third"))
    assert corrections() == []
    rerated(Scope(since=second.admitted_at))
    assert [each.corrects_id for each in corrections()] == [second.pk]
    rerated(Scope(until=second.admitted_at, model="qwen3"))
    assert len(corrections()) == 2


def test_it_gets_past_whole_batches_that_nobody_can_price(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerate, "BATCH", 2)
    for number in range(5):
        row("mystery", admitted_at=DAY + timedelta(hours=number % 2))
    for _ in range(5):
        row(admitted_at=DAY + timedelta(hours=1))
    priced("qwen3", 2)
    outcome = rerated(Scope())
    assert outcome.unknown == {("mystery", "box"): 5}
    assert outcome.moved[("qwen3", "box")].rows == len(corrections()) == 5


def test_it_gives_each_row_one_id_for_its_correction() -> None:
    ids = [ledger.new_id() for _ in range(1000)]
    made = [correction_id(record_id) for record_id in ids]
    assert made == [correction_id(record_id) for record_id in ids]
    assert len({*ids, *made}) == 2000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert [each.int >> 80 for each in made] == [each.int >> 80 for each in ids]


@pytest.mark.django_db(transaction=True)
def test_it_corrects_once_when_two_run_at_once(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerate, "BATCH", 10)
    made = [row(admitted_at=DAY + timedelta(hours=hour)) for hour in range(40)]
    priced("qwen3", 2)
    together = threading.Barrier(2, timeout=30)
    listed = rerate._batches

    def both_at_once(scope: Scope) -> Any:
        pages = list(listed(scope))  # what each has found before either has written
        together.wait()
        yield from pages

    monkeypatch.setattr(rerate, "_batches", both_at_once)

    def run(_: int) -> int:
        try:
            return sum(moved.rows for moved in rerated(Scope()).moved.values())
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(run, range(2)))
    assert sum(counts) == len(made)
    assert [each.corrects_id for each in corrections()] == sorted(each.pk for each in made)


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("rerateusage", *arguments, stdout=out, no_color=True)
    return out.getvalue().splitlines()


def test_it_tells_the_money_moved_and_what_remains(row: Row) -> None:
    made: Sequence[UsageRecord] = [row(), row(), row("mystery"), row("dear", cost_nano=1)]
    priced("qwen3", 2)
    priced("dear", 3)
    told = [
        "dear at box: 1 rows, $0.000000001 become $0.003",
        "qwen3 at box: 2 rows, $0.03 become $0.004",
    ]
    rest = ["No price is known for:", "  mystery at box: 1 rows"]
    total = "3 rows corrected, -$0.023000001 in all"
    assert run("--dry-run") == [*told, f"{total}; nothing was written.", *rest]
    assert corrections() == []
    assert run() == [*told, f"{total}.", *rest]
    assert len(corrections()) == len(made) - 1
    assert run() == ["0 rows corrected, +$0.00 in all.", *rest]


def test_it_takes_days_and_moments(row: Row) -> None:
    row()
    priced("qwen3", 2)
    assert run("--from", "2026-10-03")[0].startswith("0 rows")
    assert run("--to", "2026-10-02T00:00:00Z")[0].startswith("0 rows")
    assert run("--model", "gpt-5")[0].startswith("0 rows")
    assert run("--from", "2026-10-02", "--to", "2026-10-02T02:00:01+02:00")[0].startswith("qwen3")
    with pytest.raises(CommandError, match=r"^--to must be a day or a moment"):
        run("--to", "yesterday")


def test_it_adds_to_the_sums_and_tells_lago_where_lago_was_told(row: Row) -> None:
    told, _ = row(metered=True), row()
    priced("qwen3", 1)
    rerated(Scope())
    sums = {row.kind: (row.requests, row.cost_nano) for row in UsageRollup.objects.all()}
    assert sums == dict.fromkeys(UsageRollup.Kind.values, (0, -28_000_000))
    assert [event.record.corrects_id for event in OutboxEvent.objects.all()] == [told.id]
