"""The outbox, Lago's webhooks and the alarms in the admin: to read, to retry, to resolve."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from accounts.tests.people import Person, alice
from billing.models import Alarm, OutboxEvent, WebhookDelivery
from billing.tests.admin import ESCAPED, HTML, lines, operator, record, staff, told

__all__ = ["alice", "operator"]

OUTBOX = "/admin/billing/outboxevent/"
DELIVERIES = "/admin/billing/webhookdelivery/"
ALARMS = "/admin/billing/alarm/"


@pytest.fixture(autouse=True)
def _no_others(db: None) -> None:
    """A gateway of an earlier test may have raised one after its tables were emptied."""
    Alarm.objects.all().delete()


@pytest.fixture
def parked(alice: Person) -> OutboxEvent:
    return OutboxEvent.objects.create(
        record=record(alice),
        state="parked",
        attempts=7,
        reason="subscription_not_found",
        leased_until=datetime.now(UTC),
    )


@pytest.fixture
def pending(alice: Person) -> OutboxEvent:
    return OutboxEvent.objects.create(
        record=record(alice), attempts=3, leased_until=datetime.now(UTC)
    )


def alarm(subject: str = "glm-5", **fields: Any) -> Alarm:
    values: dict[str, Any] = {"first_at": datetime.now(UTC), "last_at": datetime.now(UTC)}
    return Alarm.objects.create(code="unknown_price", subject=subject, **values | fields)


def act(client: Client, page: str, action: str, *rows: Any) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(page, chosen, follow=True)


def test_it_retries_what_is_parked_and_leaves_the_rest(
    operator: Client, parked: OutboxEvent, pending: OutboxEvent
) -> None:
    before = OutboxEvent.objects.values().get(pk=pending.pk)
    answer = act(operator, OUTBOX, "retry", parked, pending)
    assert told(answer) == ["1 will be sent again."]
    parked.refresh_from_db()
    assert (parked.state, parked.attempts, parked.leased_until) == ("pending", 0, None)
    # What an exporter has in its hands is not taken out of them.
    assert OutboxEvent.objects.values().get(pk=pending.pk) == before
    request = f"req_{parked.pk.hex}"
    assert lines() == [("outbox.retried", {"count": 1, "requests": [request]})]


def test_it_says_that_there_is_nothing_to_retry(operator: Client, pending: OutboxEvent) -> None:
    assert told(act(operator, OUTBOX, "retry", pending)) == ["None of them is parked."]
    assert lines() == []


def test_it_retries_all_that_a_filter_shows(
    operator: Client, alice: Person, pending: OutboxEvent
) -> None:
    for _ in range(30):
        OutboxEvent.objects.create(record=record(alice), state="parked")
    chosen = {"action": "retry", "_selected_action": [str(pending.pk)], "select_across": "1"}
    answer = operator.post(OUTBOX + "?state__exact=parked", chosen, follow=True)
    assert told(answer) == ["30 will be sent again."]
    ((_, details),) = lines()
    assert (details["count"], len(details["requests"])) == (30, 20)


def test_it_shows_why_and_links_the_request(operator: Client, parked: OutboxEvent) -> None:
    for page in (OUTBOX, f"{OUTBOX}{parked.pk}/change/"):
        text = operator.get(page).content.decode()
        assert "subscription_not_found" in text
        assert f"/admin/billing/usagerecord/{parked.pk}/change/" in text


@pytest.mark.parametrize("spelled", ["{0.hex}", "{0}", " req_{0.hex} "])
def test_it_finds_the_event_of_a_request(
    operator: Client, parked: OutboxEvent, pending: OutboxEvent, spelled: str
) -> None:
    page = operator.get(OUTBOX, {"q": spelled.format(parked.pk)})
    assert list(page.context["cl"].result_list) == [parked]
    assert list(operator.get(OUTBOX, {"q": "nonsense"}).context["cl"].result_list) == []


def test_it_retries_nothing_for_those_who_may_only_look(parked: OutboxEvent) -> None:
    client = staff("view_outboxevent")
    assert 'value="retry"' not in client.get(OUTBOX).content.decode()
    act(client, OUTBOX, "retry", parked)
    parked.refresh_from_db()
    assert parked.state == "parked"


def test_it_retries_for_those_who_may_change_events(parked: OutboxEvent) -> None:
    client = staff("view_outboxevent", "change_outboxevent")
    assert told(act(client, OUTBOX, "retry", parked)) == ["1 will be sent again."]
    answer = client.post(f"{OUTBOX}{parked.pk}/change/", {"state": "parked"})
    assert answer.status_code == 403


def test_it_resolves_the_chosen_alarms(operator: Client) -> None:
    gone, left = alarm(count=41), alarm("left")
    assert told(act(operator, ALARMS, "resolve", gone)) == ["1 resolved."]
    assert list(Alarm.objects.all()) == [left]
    details = {"code": "unknown_price", "subject": "glm-5", "count": 41}
    assert lines() == [("alarm.resolved", details)]


def test_it_shows_the_newest_alarm_first_and_how_many_there_are(operator: Client) -> None:
    old = alarm("old", last_at=datetime(2026, 1, 1, tzinfo=UTC))
    new = alarm("new", count=1234)
    page = operator.get(ALARMS)
    assert list(page.context["cl"].result_list) == [new, old]
    (item,) = [
        item
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["title"] == "Alarms"
    ]
    assert item["badge"] == "2"


def test_it_resolves_nothing_for_those_who_may_only_look(db: None) -> None:
    row = alarm()
    client = staff("view_alarm")
    act(client, ALARMS, "resolve", row)
    assert client.post(f"{ALARMS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Alarm.objects.exists()


def test_it_shows_what_others_wrote_as_text(operator: Client, parked: OutboxEvent) -> None:
    OutboxEvent.objects.update(reason=HTML)
    Organization.objects.update(name=HTML)
    row = alarm(HTML, detail=HTML)
    delivery = WebhookDelivery.objects.create(unique_key=HTML, webhook_type=HTML, outcome=HTML)
    for page, pk in ((OUTBOX, parked.pk), (ALARMS, row.pk), (DELIVERIES, delivery.pk)):
        for url in (page, f"{page}{pk}/change/"):
            text = operator.get(url).content.decode()
            assert HTML not in text
            assert ESCAPED in text


def test_it_asks_as_often_for_many_events_as_for_few(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(OUTBOX)
    for _ in range(2):
        for _ in range(10):
            other = Organization.objects.create(name="other")
            OutboxEvent.objects.create(record=record(alice, organization=other))
        with django_assert_num_queries(6):  # also for requests, organizations
            assert operator.get(OUTBOX).status_code == 200
