"""The alarm of a model without a price goes when nothing of it remains unpriced."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.tests.people import Person
from billing import alarms
from billing.models import Alarm, Price, UsageRecord
from billing.rerate import Scope, rerated
from billing.tests.lago_rows import usage

DAY = datetime(2026, 10, 1, tzinfo=UTC)
ALARM = "qwen3 at box"


@pytest.fixture(autouse=True)
def alarmed(db: None) -> None:
    Price.objects.all().delete()
    for subject in (ALARM, "qwen3 at another", "llama at box"):
        alarms.sound(Alarm.Code.UNKNOWN_PRICE, subject)
    alarms.sound(Alarm.Code.BAD_USAGE, ALARM)


def unpriced(person: Person, **more: Any) -> UsageRecord:
    fields: dict[str, Any] = {"target_model": "qwen3", "served_model": "", "upstream": "box"}
    moments = {"admitted_at": DAY, "closed_at": DAY}
    more = fields | moments | {"unpriced": True, "metered": False} | more
    (row,) = usage(person, queued=False, **more)
    return row


def priced(pattern: str, since: datetime = DAY) -> None:
    reads_and_writes = ("cache_read_nano", "cache_write_5m_nano", "cache_write_1h_nano")
    amounts = dict.fromkeys(("input_nano", "output_nano", *reads_and_writes), 1)
    Price.objects.create(pattern=pattern, valid_from=since, **amounts)


def rung() -> set[str]:
    """The subjects of the alarms of unknown prices."""
    found = Alarm.objects.filter(code=Alarm.Code.UNKNOWN_PRICE)
    return set(found.values_list("subject", flat=True))


def test_it_resolves_the_alarm_of_what_has_a_price_now(alice: Person) -> None:
    unpriced(alice)
    unpriced(alice, target_model="llama")
    priced("qwen3")
    rerated(Scope(), dry_run=True)
    assert ALARM in rung()
    rerated(Scope())
    assert rung() == {"qwen3 at another", "llama at box"}
    assert Alarm.objects.filter(code=Alarm.Code.BAD_USAGE, subject=ALARM).exists()


def test_it_keeps_the_alarm_while_rows_of_the_model_remain_unpriced(alice: Person) -> None:
    unpriced(alice, admitted_at=DAY - timedelta(days=1))  # before its price begins
    unpriced(alice)
    priced("qwen3")
    assert rerated(Scope()).moved
    assert ALARM in rung()


def test_it_keeps_the_alarm_while_rows_out_of_scope_remain(alice: Person) -> None:
    unpriced(alice)
    unpriced(alice, admitted_at=DAY + timedelta(days=9))
    priced("qwen3")
    rerated(Scope(until=DAY + timedelta(days=1)))
    assert ALARM in rung()
    rerated(Scope())
    assert ALARM not in rung()
