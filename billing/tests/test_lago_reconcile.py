"""`manage.py reconcilelago`: it says balanced if, and only if, everything agrees."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.tests.people import Person
from billing import export, reconcile
from billing.lago import Client
from billing.models import OutboxEvent, Plan, Subscription, UsageRecord
from billing.tests.lago_rows import usage
from tests import lago as standing_in
from tests.lago import Lago


def reconciled(*options: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    out = StringIO()
    try:
        call_command("reconcilelago", *options, stdout=out, stderr=out, no_color=True)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def export_all() -> None:
    with Client() as client:
        exporter = export.Exporter(client)
        while exporter.step().claimed:
            pass


@pytest.fixture
def ready(lago: Lago, alice: Person) -> Lago:
    """A Lago that knows Alice's organization."""
    Subscription.objects.create(
        organization=alice.organization, plan=Plan.objects.get(code="pro"), external_id="acme"
    )
    call_command("setuplago", stdout=StringIO())
    return lago


def past(**more: Any) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=5, **more)


def test_it_is_balanced_when_everything_agrees(alice: Person, ready: Lago) -> None:
    usage(alice, 250, admitted_at=past())
    usage(alice, metered=False, queued=False)  # of an upstream that meters itself
    export_all()
    code, said = reconciled()
    assert (code, said.splitlines()[-1]) == (0, "balanced")
    assert said.startswith("250 rows of the ledger: 250 at Lago, with ")


@pytest.mark.parametrize("lago", ["clickhouse"], indirect=True)
def test_it_balances_corrections_too(alice: Person, ready: Lago) -> None:
    (row,) = usage(alice, cost_nano=3_000_000_000, admitted_at=past())
    export_all()
    usage(alice, state="correction", corrects=row, cost_nano=-1, admitted_at=past())
    export_all()
    assert reconciled()[0] == 0


def test_what_is_on_its_way_does_not_count_against_it(alice: Person, ready: Lago) -> None:
    usage(alice, 3, admitted_at=past())
    export_all()
    usage(alice, 2, admitted_at=past())
    ready.behaviour.script.append(standing_in.HANG_UP)
    with Client() as client:
        assert export.Exporter(client).step().failed  # they are there, and nobody knows
    code, said = reconciled()
    assert (code, said.splitlines()[-1]) == (0, "balanced")
    assert "5 rows of the ledger: 5 at Lago" in said
    usage(alice, 2, admitted_at=past())
    code, said = reconciled()
    assert code == 0
    assert "2 on their way" in said


def test_it_names_what_is_missing_at_lago(alice: Person, ready: Lago) -> None:
    rows = usage(alice, 3, admitted_at=past())
    export_all()
    gone = ready.store.events.pop(1)["transaction_id"]
    code, said = reconciled()
    assert code == 1
    assert "balanced" not in said
    assert f"1 missing at Lago:\n  req_{gone}" in said
    assert "1 different sums" in said  # the usage that would be billed
    assert gone in {row.id.hex for row in rows}


def test_it_names_what_is_at_lago_twice(alice: Person, ready: Lago) -> None:
    usage(alice, 2, admitted_at=past())
    export_all()
    first = ready.store.events[0]
    ready.store.events.append({**first, "lago_id": "another"})
    code, said = reconciled()
    assert code == 1
    assert f"1 twice at Lago:\n  req_{first['transaction_id']}" in said


def test_it_names_what_the_ledger_does_not_know(alice: Person, ready: Lago) -> None:
    usage(alice, admitted_at=past())
    export_all()
    ready.store.events.append({**ready.store.events[0], "transaction_id": "x" * 8, "lago_id": "y"})
    code, said = reconciled()
    assert code == 1
    assert "1 unknown to the ledger:\n  xxxxxxxx of acme" in said


def test_it_names_values_that_differ(alice: Person, ready: Lago) -> None:
    usage(alice, admitted_at=past())
    export_all()
    properties = ready.store.events[0]["properties"]
    ready.store.events[0]["properties"] = {**properties, "output_tokens": 21, "cost_usd": "9"}
    code, said = reconciled()
    assert code == 1
    assert "output_tokens is 21 at Lago, 20 here" in said
    assert "cost_usd is '9' at Lago, '0.0015' here" in said
    assert "all events together: 9 at Lago, 0.0015 here" in said


def test_a_property_that_was_not_sent_yet_is_no_difference(
    alice: Person, ready: Lago, settings: Any
) -> None:
    every = settings.LAGO_EVENT_PROPERTIES
    settings.LAGO_EVENT_PROPERTIES = {"cost_usd": "cost_usd"}
    usage(alice, admitted_at=past())
    export_all()
    settings.LAGO_EVENT_PROPERTIES = every
    assert reconciled()[0] == 0
    del ready.store.events[0]["properties"]["cost_usd"]
    assert reconciled()[0] == 1


def test_it_names_what_is_parked(alice: Person, ready: Lago) -> None:
    rows = usage(alice, 2, admitted_at=past())
    ready.behaviour.refused = {rows[0].id.hex: {"code": ["invalid"]}}
    export_all()
    code, said = reconciled()
    assert code == 1
    assert f"1 parked, so not at Lago:\n  req_{rows[0].id.hex}" in said


def test_it_finds_what_was_sent_under_an_earlier_name(alice: Person, ready: Lago) -> None:
    usage(alice, admitted_at=past())
    export_all()
    ready.store.subscriptions["renamed"] = {**ready.store.subscriptions["acme"]}
    Subscription.objects.update(external_id="renamed")
    _, said = reconciled()
    assert "missing" not in said
    assert "current usage is 0 at Lago, 0.0015 here" in said  # it is billed under the other


def test_it_says_who_is_billed_to_nobody(alice: Person, charlie: Person, ready: Lago) -> None:
    usage(charlie, admitted_at=past())
    export_all()
    code, said = reconciled()
    assert code == 1
    assert f"organization {charlie.organization.id}: Lago bills nobody for it" in said


def test_it_reads_a_busy_hour_in_parts(
    alice: Person, ready: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MOST_ROWS", 10)
    start = past(hours=2)
    for number in range(40):
        usage(alice, admitted_at=start + timedelta(seconds=number, microseconds=999 * number))
    export_all()
    parts = list(reconcile.stretches(UsageRecord.objects.all(), start - timedelta(1), past()))
    assert len(parts) > 4
    assert all(end == start for (_, end), (start, _) in pairwise(parts))
    code, said = reconciled()
    assert (code, said.splitlines()[-1]) == (0, "balanced")
    assert "40 rows of the ledger: 40 at Lago" in said


def test_it_compares_the_range_that_was_asked_for(alice: Person, ready: Lago) -> None:
    usage(alice, admitted_at=past(days=3))
    usage(alice, admitted_at=past())
    export_all()
    ready.store.events = [
        e for e in ready.store.events if e["timestamp"] > past(days=1).isoformat()
    ]
    assert "1 missing" in reconciled()[1]
    day = (past(days=1)).date().isoformat()
    _, said = reconciled("--from", day)
    assert "1 rows of the ledger: 1 at Lago" in said
    assert reconciled("--from", "2026-02-01", "--to", "2026-01-01")[0] == 2


def test_it_says_when_it_cannot_compare(alice: Person, ready: Lago, settings: Any) -> None:
    usage(alice, admitted_at=past())
    export_all()
    for deed in (standing_in.AWAY, standing_in.NOT_JSON):
        ready.behaviour.always = deed
        code, said = reconciled()
        assert code == 2
        assert "balanced" not in said
    settings.LAGO_API_URL = ""
    assert reconciled()[0] == 2


def test_a_run_through_a_lago_that_misbehaves_ends_balanced(alice: Person, ready: Lago) -> None:
    usage(alice, 300, admitted_at=past())
    ready.behaviour.seed = 3
    for _ in range(100):
        OutboxEvent.objects.update(leased_until=None)
        with Client() as client:
            export.Exporter(client).step()
        if not OutboxEvent.objects.exists():
            break
    assert reconciled()[1].splitlines()[-1] == "balanced"
