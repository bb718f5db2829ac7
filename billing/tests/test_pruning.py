"""What is too old goes, a few rows at a time; what somebody still needs stays."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from accounts.tests.people import Person
from billing import pruning
from billing.models import OutboxEvent, UsageRecord, UsageRollup
from billing.tests.usage_rows import keep, row

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def aged(person: Person, days: float, **more: Any) -> UsageRecord:
    return row(person, NOW - timedelta(days=days), **more)


def left() -> set[object]:
    return set(UsageRecord.objects.values_list("pk", flat=True))


def test_old_requests_go_and_their_sums_stay(alice: Person) -> None:
    old, fresh = aged(alice, 41), aged(alice, 39)
    keep([old, fresh])
    sums = sorted(UsageRollup.objects.values_list("kind", "requests"))
    assert pruning.prune(40, NOW)["requests in the ledger"] == 1
    assert left() == {fresh.pk}
    assert sorted(UsageRollup.objects.values_list("kind", "requests")) == sums


def test_what_lago_has_not_heard_of_and_what_still_runs_stays(alice: Person) -> None:
    owed, open_one = aged(alice, 300), aged(alice, 300, state="admitted", closed_at=None)
    UsageRecord.objects.bulk_create([owed, open_one])
    OutboxEvent.objects.create(record=owed)
    pruning.prune(40, NOW)
    assert left() == {owed.pk, open_one.pk}


def test_without_a_number_of_days_the_ledger_is_kept(alice: Person) -> None:
    ancient = aged(alice, 4_000)
    ancient.save(force_insert=True)
    assert "requests in the ledger" not in pruning.prune(0, NOW)
    assert left() == {ancient.pk}


def test_it_takes_all_however_many(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 3)  # as with thousands of rows
    UsageRecord.objects.bulk_create([aged(alice, 50 + number) for number in range(9)])
    assert pruning.prune(40, NOW)["requests in the ledger"] == 9
    assert left() == set()


def test_sessions_that_are_over_go() -> None:
    for key, hours in (("over", -1), ("open", 1)):
        end = timezone.now() + timedelta(hours=hours)
        Session.objects.create(session_key=key, session_data="", expire_date=end)
    pruning.prune(0)
    assert [one.session_key for one in Session.objects.all()] == ["open"]


def test_the_command_says_what_would_go_and_does_it(alice: Person) -> None:
    ancient = row(alice, timezone.now() - timedelta(days=60))
    ancient.save(force_insert=True)
    said = StringIO()
    with override_settings(KEEP_DAYS=40):
        call_command("prune", "--dry-run", stdout=said)
        assert "1 requests in the ledger would go" in said.getvalue()
        assert left() == {ancient.pk}
        call_command("prune", stdout=said)
    assert "1 requests in the ledger deleted" in said.getvalue()
    assert left() == set()
    call_command("prune", stdout=said)
    assert "kept for ever" in said.getvalue()
