"""The exporter with many events, several exporters, and one event that Lago chokes on."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from accounts.tests.people import Person
from billing import export
from billing.lago import Client
from billing.models import OutboxEvent, UsageRecord
from billing.tests.lago_rows import usage
from tests import lago as standing_in
from tests.lago import Lago


@pytest.fixture
def client(lago: Lago) -> Iterator[Client]:
    """A client of the stand-in."""
    with Client() as open_client:
        yield open_client


@pytest.fixture
def exporter(client: Client) -> export.Exporter:
    """An exporter that has seen nothing yet."""
    return export.Exporter(client)


def ids(rows: list[UsageRecord]) -> list[str]:
    return sorted(row.id.hex for row in rows)


def due() -> None:
    """What was put off or leased is due now."""
    OutboxEvent.objects.update(leased_until=None)


def until_empty(exporter: export.Exporter, most: int = 200) -> None:
    for _ in range(most):
        due()
        exporter.step()
        if not OutboxEvent.objects.filter(state="pending").exists():
            return
    raise AssertionError(f"{OutboxEvent.objects.count()} events are still there")


def test_one_event_that_lago_chokes_on_stops_no_other(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 150)
    lago.behaviour.poison = {rows[70].id.hex}
    for _ in range(40):
        due()
        exporter.step()
        if len(lago.ids()) == 149:
            break
    assert sorted(lago.ids()) == ids(rows[:70] + rows[71:])
    assert OutboxEvent.objects.get().attempts <= 10
    for _ in range(10):
        usage(alice, 1)
        due()
        exporter.step()
        exporter.step()
    parked = OutboxEvent.objects.get()
    assert (parked.record_id, parked.state) == (rows[70].id, "parked")
    assert "500" in parked.reason


def test_a_failure_of_one_alone_is_no_proof_that_lago_is_well(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    (row,) = usage(alice, 1)
    lago.behaviour.poison = {row.id.hex}
    for _ in range(30):
        due()
        exporter.step()
    assert OutboxEvent.objects.get().state == "pending"


def test_it_parks_nothing_while_lago_answers_500_to_all(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 20)
    lago.behaviour.always = standing_in.BROKEN
    for _ in range(60):
        due()
        exporter.step()
    assert OutboxEvent.objects.filter(state="pending").count() == 20
    lago.behaviour.always = ""
    until_empty(exporter)
    assert sorted(lago.ids()) == ids(rows)


@pytest.mark.parametrize("lago", ["postgres", "clickhouse"], indirect=True)
def test_a_thousand_events_arrive_once_each_through_a_lago_that_misbehaves(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 1000)
    lago.behaviour.seed = 7
    until_empty(exporter)
    assert sorted(lago.ids()) == ids(rows)
    assert not OutboxEvent.objects.exists()


def test_several_exporters_at_once_are_harmless(
    transactional_db: None, alice: Person, lago: Lago
) -> None:
    rows = usage(alice, 1000)
    failed: list[BaseException] = []

    def export_all() -> None:
        try:
            with Client() as client:
                own = export.Exporter(client)
                while own.step().claimed:
                    pass
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=export_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert sorted(lago.ids()) == ids(rows)
    sent = [event["transaction_id"] for body in lago.bodies for event in body["events"]]
    assert len(sent) == 1000  # nobody sent what another had in hand
    assert not OutboxEvent.objects.exists()


def test_it_stops_when_told_and_runs_on_through_failures(
    transactional_db: None, alice: Person, lago: Lago, client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(export, "BACK_OFF_S", 0.01)
    rows = usage(alice, 300)
    lago.behaviour.script.extend([standing_in.AWAY, standing_in.HANG_UP, standing_in.LIMIT])
    stop = threading.Event()

    def work() -> None:
        try:
            export.run(stop, client)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(200):
        if len(lago.ids()) == 300 and not OutboxEvent.objects.exists():
            break
        stop.wait(0.05)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert sorted(lago.ids()) == ids(rows)
