"""An outage of Lago: a line when it is over, an alarm while it lasts."""

import logging
import threading
from typing import Any

import pytest

from accounts.tests.people import Person
from billing import alarms, export
from billing.lago import Client
from billing.models import Alarm
from billing.outage import FORGOTTEN_S, LASTS_S, SUBJECT, Outage
from billing.tests.lago_rows import usage
from tests import lago as standing_in
from tests.lago import Lago

pytestmark = pytest.mark.django_db


def rung() -> list[tuple[str, str, int]]:
    found = Alarm.objects.filter(code=Alarm.Code.LAGO_AWAY)
    return list(found.values_list("subject", "detail", "count"))


class Steps(threading.Event):
    """A stop that comes after so many steps, and never waits."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        if not self._left:
            self.set()
        return True


def exported(steps: int) -> None:
    with Client() as client:
        export.run(Steps(steps), client)


def test_it_alarms_once_an_outage_has_lasted_and_for_as_long_as_it_does() -> None:
    outage = Outage()
    outage.delivered(1)  # it was well before
    outage.failed("away", now_s=1000.0)
    outage.failed("away", now_s=1000.0 + LASTS_S)
    assert rung() == []
    outage.failed("gone", now_s=1001.0 + LASTS_S)
    assert rung() == [(SUBJECT, "gone", 1)]
    outage.failed("gone", now_s=1301.0 + LASTS_S)
    assert rung() == [(SUBJECT, "gone", 2)]
    outage.delivered(1)
    assert rung() == []
    outage.failed("away", now_s=1400.0 + LASTS_S)
    assert rung() == []


def test_it_counts_no_time_in_which_nothing_was_sent() -> None:
    outage = Outage()
    outage.failed("away", now_s=1000.0)
    outage.failed("away", now_s=1001.0 + FORGOTTEN_S)
    assert rung() == []


def test_it_resolves_what_an_exporter_before_it_has_sounded() -> None:
    alarms.sound(Alarm.Code.LAGO_AWAY, SUBJECT)
    Outage().delivered(1)
    assert rung() == []


def test_it_says_when_it_starts_and_when_lago_is_back(
    alice: Person, lago: Lago, caplog: pytest.LogCaptureFixture
) -> None:
    usage(alice, 3)
    lago.behaviour.script += [standing_in.AWAY] * 2
    with caplog.at_level(logging.INFO, "billing"):
        exported(4)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    address = lago.url.removeprefix("http://")
    assert said == [f"export: started, sends to {address}", "export: Lago is back, 3 delivered"]


def test_an_outage_that_lasts_reaches_the_alarms(
    alice: Person, lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.outage.LASTS_S", -1.0)
    usage(alice)
    lago.behaviour.always = standing_in.AWAY
    exported(2)
    ((subject, detail, count),) = rung()
    assert (subject, count) == ("Lago", 2)
    assert detail.startswith("Lago answered 503")


def test_what_lago_refuses_is_no_outage(
    alice: Person, lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.outage.LASTS_S", -1.0)
    usage(alice, 2)
    lago.behaviour.always = standing_in.EMPTY  # it takes none of them
    exported(2)
    assert rung() == []


def test_it_logs_where_usage_goes_without_what_opens_it(
    db: None, lago: Lago, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.LAGO_API_URL = "http://name:secret@lago.example:3000"
    with caplog.at_level(logging.INFO, "billing"):
        exported(1)
    assert caplog.messages == ["export: started, sends to lago.example:3000"]
