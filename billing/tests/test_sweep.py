"""Rows of a process that died: settled once, by another, as estimates."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async

from billing import ledger, limits, sweep, tariff, workers, writer
from billing.ledger import Admission
from billing.limits import Need
from billing.models import Alarm, Allowance, OutboxEvent, UsageRecord, UsageRollup, Worker
from billing.plans import Limits, Terms
from billing.sweep import Sweeper
from billing.workers import DEAD_S, LOOKS_S, Watch

DEAD, ALIVE = uuid.UUID(int=1), uuid.UUID(int=2)
ON_TERMS = Terms(plan="t", name="Test", limits=Limits(tokens_per_day=1000))


def looked(watch: Watch, until_s: float, **beats: int) -> list[uuid.UUID | None]:
    """Look every five seconds; who beats at each look is `alive`."""
    found: list[uuid.UUID | None] = []
    for second in range(0, int(until_s) + 1, 5):
        found = watch.dead({DEAD: 7, ALIVE: second}, float(second))
    return found


def test_it_takes_for_dead_who_has_not_beaten_for_long() -> None:
    assert looked(Watch(), DEAD_S - 5) == []
    assert looked(Watch(), DEAD_S) == [DEAD]


def test_it_begins_anew_after_a_pause_in_which_nobody_could_beat() -> None:
    watch = Watch()
    assert watch.dead({DEAD: 7}, 0) == []
    assert watch.dead({DEAD: 7}, LOOKS_S + DEAD_S) == []


def test_it_takes_for_dead_who_never_beat_at_all() -> None:
    watch = Watch()
    for second in range(0, int(DEAD_S), 5):
        assert watch.dead({None: None}, second) == []
    assert watch.dead({None: None}, DEAD_S) == [None]


def test_it_takes_nobody_for_dead_while_its_own_beat_cannot_be_written() -> None:
    """A database that answers but takes no writes stops every beat, its own among them."""
    watch = Watch()
    for second in range(0, int(DEAD_S) * 3, 5):
        assert watch.dead({DEAD: 7, workers.OWN_ID: 3}, float(second)) == []


async def left_open(admission: Admission, worker: uuid.UUID | None) -> Admission:
    """A request under way in a process of that name."""
    one = replace(
        admission,
        id=ledger.new_id(),
        admitted_at=datetime.now(UTC) - timedelta(minutes=2),
        expected_input_tokens=40,
        metered=True,
        tags=("team-a",),
    )
    need = Need(input_tokens=40, max_tokens=60)
    one = limits.prepared(one, "user:1", ON_TERMS, need, [])
    await limits.admit(one, "user:1", ON_TERMS)
    await UsageRecord.objects.filter(id=one.id).aupdate(worker_id=worker)
    return one


async def test_it_settles_what_a_dead_process_left_open(
    writing: writer.Writer, admission: Admission
) -> None:
    lost, living = await left_open(admission, DEAD), await left_open(admission, ALIVE)
    await Worker.objects.acreate(id=DEAD, beat=3, name="dead", started_at=datetime.now(UTC))
    sweeper = Sweeper()
    for second in range(0, int(DEAD_S) + 5, 5):
        await Worker.objects.aupdate_or_create(
            id=ALIVE, defaults={"beat": second, "name": "", "started_at": datetime.now(UTC)}
        )
        settled = await sync_to_async(sweeper.step)(float(second))
    assert settled == 1
    row = await UsageRecord.objects.aget(id=lost.id)
    assert (row.state, row.flags, row.estimated, row.metered) == (
        "interrupted",
        "swept",
        True,
        True,
    )
    assert (row.input_tokens, row.output_tokens) == (40, 0)
    assert row.unpriced
    assert row.cost_nano > 0
    assert 119_000 < (row.duration_ms or 0) < 180_000
    assert (await UsageRecord.objects.aget(id=living.id)).state == "admitted"
    allowance = await Allowance.objects.aget()
    assert (allowance.tokens, allowance.tokens_held) == (40, 100)
    assert await OutboxEvent.objects.filter(record=lost.id).aexists()
    sums = {r.kind: r.input_tokens async for r in UsageRollup.objects.all()}
    assert sums == dict.fromkeys(UsageRollup.Kind.values, 40)
    assert (await Alarm.objects.aget(code=Alarm.Code.DEAD_WORKER)).count == 1
    living_on = {worker.id async for worker in Worker.objects.all()}
    assert ALIVE in living_on
    assert DEAD not in living_on


async def test_it_settles_each_row_once_although_two_sweep(
    writing: writer.Writer, admission: Admission
) -> None:
    await left_open(admission, DEAD)
    stale = [row async for row in UsageRecord.objects.all()]
    assert await sync_to_async(sweep.settle)(DEAD) == 1
    prices = await sync_to_async(tariff.read)()
    again = [(row, sweep._closing(row, prices, datetime.now(UTC))) for row in stale]
    await sync_to_async(ledger.close_dead)(again)
    allowance = await Allowance.objects.aget()
    assert (allowance.tokens, allowance.tokens_held) == (40, 0)
    assert await UsageRollup.objects.filter(kind="day").acount() == 1
    assert (await UsageRollup.objects.aget(kind="day")).requests == 1
    alarms = [alarm.code async for alarm in Alarm.objects.all()]
    assert alarms == [Alarm.Code.DEAD_WORKER]  # that another was faster is nobody's loss


async def test_it_never_takes_itself_for_dead(writing: writer.Writer, admission: Admission) -> None:
    await left_open(admission, workers.OWN_ID)
    sweeper = Sweeper()
    for second in range(0, int(DEAD_S) * 2, 5):
        assert await sync_to_async(sweeper.step)(float(second)) == 0
    assert (await UsageRecord.objects.aget()).state == "admitted"


async def test_it_counts_its_beats(writing: writer.Writer) -> None:
    for _ in range(3):
        workers.beat()
        await writing.drain()
    assert (await Worker.objects.aget(id=workers.OWN_ID)).beat == 3


@pytest.mark.django_db
@pytest.mark.parametrize(("days", "kept"), [(1, True), (61, True), (100, False)])
def test_it_forgets_the_allowances_of_the_month_before_last(days: int, kept: bool) -> None:
    day = datetime.now(UTC) - timedelta(days=days)
    Allowance.objects.create(
        id="x", organization_id=uuid.uuid4(), subject="user:1", period=f"{day:%Y-%m-%d}"
    )
    Sweeper().step(0.0)
    assert Allowance.objects.exists() == kept
