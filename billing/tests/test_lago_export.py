"""The exporter: whatever Lago does, each event is there once in the end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts.tests.people import Person
from billing import export
from billing.lago import Client
from billing.models import Alarm, OutboxEvent, Plan, Subscription, UsageRecord
from billing.tests.lago_rows import queue, usage
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


def test_it_delivers_a_batch_and_empties_the_outbox(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 3)
    assert exporter.step() == export.Found(claimed=3, delivered=3)
    assert sorted(lago.ids()) == ids(rows)
    assert not OutboxEvent.objects.exists()
    assert exporter.step() == export.Found()


def test_it_sends_the_row_under_its_own_name_and_time(
    alice: Person, lago: Lago, exporter: export.Exporter, settings: Any
) -> None:
    settings.LAGO_EVENT_CODE = "llm"
    at = datetime(2026, 11, 25, 1, 2, 3, 999_999, tzinfo=UTC)
    (row,) = usage(alice, admitted_at=at, cost_nano=1_250_000_000, estimated=True)
    exporter.step()
    (event,) = lago.bodies[0]["events"]
    assert event["transaction_id"] == row.id.hex
    assert event["external_subscription_id"] == str(alice.organization.id)
    assert (event["code"], event["timestamp"]) == ("llm", "1795568523.999")
    said = event["properties"]
    assert (said["cost_nano"], said["cost_usd"]) == (1_250_000_000, "1.25")
    assert (said["tokens_input"], said["total_tokens"]) == (103, 123)
    assert (said["estimated"], said["own_credential"]) == ("true", "false")
    assert "session_id" not in said


def test_it_names_the_subscription_as_lago_does(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    Subscription.objects.create(
        organization=alice.organization,
        plan=Plan.objects.get(code="pro"),
        external_id="acme-pro",
    )
    usage(alice)
    exporter.step()
    assert lago.store.events[0]["external_subscription_id"] == "acme-pro"


def test_it_sends_at_most_a_hundred_at_once(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    usage(alice, 250)
    assert [exporter.step().delivered for _ in range(3)] == [100, 100, 50]
    assert len(set(lago.ids())) == 250


def test_it_takes_what_lago_has_already_as_delivered(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 5)
    exporter.step()
    queue(rows[1:3])
    more = usage(alice, 2)
    found = exporter.step()
    assert (found.claimed, found.delivered, found.parked) == (4, 4, 0)
    assert sorted(lago.ids()) == ids(rows + more)
    assert not OutboxEvent.objects.exists()


def test_it_parks_what_lago_refuses_and_sends_the_rest_at_once(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 4)
    lago.behaviour.refused = {rows[2].id.hex: {"timestamp": ["invalid_format"]}}
    found = exporter.step()
    assert (found.delivered, found.parked, found.failed) == (3, 1, "")
    parked = OutboxEvent.objects.get()
    assert (parked.record_id, parked.state) == (rows[2].id, "parked")
    assert (parked.reason, parked.leased_until) == ("timestamp: invalid_format", None)
    alarm = Alarm.objects.get()
    assert (alarm.code, alarm.subject) == ("parked_event", f"req_{rows[2].id.hex}")
    assert exporter.step() == export.Found()


@pytest.mark.parametrize("lago", ["postgres", "clickhouse"], indirect=True)
@pytest.mark.parametrize("deed", [standing_in.HANG_UP, standing_in.HALF])
def test_it_sends_again_what_ended_in_doubt(
    alice: Person, lago: Lago, exporter: export.Exporter, deed: str
) -> None:
    rows = usage(alice, 10)
    lago.behaviour.script.append(deed)
    assert exporter.step().failed
    assert exporter.step().failed == ""
    assert sorted(lago.ids()) == ids(rows)
    sent = [[(e["transaction_id"], e["timestamp"]) for e in b["events"]] for b in lago.bodies[:2]]
    assert sent[0] == sent[1]


def test_it_believes_no_answer_that_acknowledges_nothing(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 2)
    for deed in (standing_in.NOT_JSON, standing_in.EMPTY):
        lago.behaviour.script.append(deed)
        assert exporter.step().failed
        assert OutboxEvent.objects.count() == 2
        due()
    exporter.step()
    assert sorted(lago.ids()) == ids(rows)


def test_it_comes_back_when_lago_says(alice: Person, lago: Lago, exporter: export.Exporter) -> None:
    usage(alice)
    lago.behaviour.limit_headers = {"x-ratelimit-reset": "7"}
    lago.behaviour.script.append(standing_in.LIMIT)
    assert exporter.step().after_s == 7
    event = OutboxEvent.objects.get()
    assert (event.attempts, event.leased_until) == (0, None)
    assert export.back_off(1, 7.0) == 7
    lago.behaviour.limit_headers = {"retry-after": "1e999"}
    lago.behaviour.script.append(standing_in.LIMIT)
    assert exporter.step().after_s is None


def test_it_waits_longer_after_each_failure_but_never_for_ever() -> None:
    waits = [export.back_off(n) for n in (1, 2, 5, 9, 1000)]
    assert all(
        low / 2 <= wait <= low for wait, low in zip(waits, (1, 2, 16, 256, 300), strict=True)
    )


def test_it_counts_no_outage_against_the_events(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    usage(alice, 3)
    lago.behaviour.always = standing_in.AWAY
    assert all(exporter.step().failed for _ in range(20))
    lago.stop()
    assert all(exporter.step().failed for _ in range(3))
    assert [event.attempts for event in OutboxEvent.objects.all()] == [0, 0, 0]
    assert not Alarm.objects.exists()


def test_it_takes_no_batch_out_of_another_exporters_hands(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    usage(alice, 3)
    OutboxEvent.objects.update(leased_until=datetime.now(UTC) + timedelta(seconds=30))
    assert exporter.step() == export.Found()
    OutboxEvent.objects.update(leased_until=datetime.now(UTC) - timedelta(seconds=1))
    assert exporter.step().delivered == 3


def test_it_parks_an_event_without_a_row(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    rows = usage(alice, 2)
    UsageRecord.objects.filter(id=rows[0].id).delete()
    found = exporter.step()
    assert (found.delivered, found.parked) == (1, 1)
    assert OutboxEvent.objects.get().record_id == UUID(rows[0].id.hex)


def test_it_backs_off_with_a_wrong_key_and_never_shows_it(
    alice: Person, lago: Lago, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    usage(alice)
    settings.LAGO_API_KEY = "a-secret-that-nobody-may-see"
    with Client() as client:
        found = export.Exporter(client).step()
    assert "401" in found.failed
    assert OutboxEvent.objects.get().attempts == 0
    assert "nobody-may-see" not in found.failed + caplog.text + repr(client)


def test_it_sends_a_correction_with_what_is_to_be_taken_off(
    alice: Person, lago: Lago, exporter: export.Exporter
) -> None:
    (row,) = usage(alice)
    usage(alice, state="correction", corrects=row, input_tokens=-4, cost_nano=-1_000_000)
    exporter.step()
    said = [event["properties"] for event in lago.store.events]
    assert sorted(p["cost_usd"] for p in said) == ["-0.001", "0.0015"]
