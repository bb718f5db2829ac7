"""`manage.py reconcilelago`: what it leaves out, and the way back for what Lago has lost."""

from typing import Any

import pytest

from accounts.models import AuditEntry
from accounts.tests.people import Person
from billing import reconcile
from billing.models import OutboxEvent, Subscription
from billing.tests.lago_rows import usage
from billing.tests.test_lago_reconcile import export_all, past, ready, reconciled
from tests.lago import Lago

__all__ = ["ready"]

EARLIER = "rows from before metering began are not compared."


def queued() -> set[str]:
    return {event.record_id.hex for event in OutboxEvent.objects.all()}


@pytest.mark.parametrize("lago", ["postgres", "clickhouse"], indirect=True)
def test_it_puts_what_lago_has_lost_into_the_outbox_again(alice: Person, ready: Lago) -> None:
    usage(alice, 4, admitted_at=past())
    export_all()
    lost = {ready.store.events.pop(1)["transaction_id"] for _ in range(2)}
    ready.store.by_id = {
        (event["external_subscription_id"], event["transaction_id"]): place
        for place, event in enumerate(ready.store.events)
    }
    assert "in the outbox again" not in reconciled()[1]
    assert queued() == set()
    code, said = reconciled("--requeue")
    assert code == 1
    assert "2 rows are in the outbox again. Once they are sent, compare anew." in said
    assert queued() == lost
    line = AuditEntry.objects.get(action=reconcile.REQUEUED)
    assert (line.actor, line.details["count"]) == ("system", 2)
    code, said = reconciled("--requeue")  # they are on their way, and not missing any more
    assert "in the outbox again" not in said
    assert queued() == lost
    export_all()
    assert len(ready.store.events) == 4
    code, said = reconciled("--requeue")
    assert (code, said.splitlines()[-1]) == (0, "balanced")


def test_it_sends_nothing_again_that_is_parked_or_not_metered(alice: Person, ready: Lago) -> None:
    rows = usage(alice, 2, admitted_at=past())
    ready.behaviour.refused = {rows[0].id.hex: {"code": ["invalid"]}}
    export_all()
    usage(alice, metered=False, queued=False, admitted_at=past())
    _, said = reconciled("--requeue")
    assert "in the outbox again" not in said
    assert [event.state for event in OutboxEvent.objects.all()] == ["parked"]


def test_it_sends_nothing_again_that_lies_under_an_earlier_name(
    alice: Person, ready: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MOST_LISTED", 1)
    usage(alice, 3, admitted_at=past())
    export_all()
    lost = usage(alice, 2, queued=False, admitted_at=past(days=1))
    ready.store.subscriptions["renamed"] = {**ready.store.subscriptions["acme"]}
    Subscription.objects.update(external_id="renamed")
    reconciled("--requeue")
    assert queued() == {row.id.hex for row in lost}


def test_it_leaves_alone_what_is_under_way(alice: Person, ready: Lago) -> None:
    usage(alice, admitted_at=past())
    export_all()
    usage(alice, queued=False, state="admitted", closed_at=None, cost_nano=0, admitted_at=past())
    code, said = reconciled("--requeue")
    assert (code, said.splitlines()[-1]) == (0, "balanced")
    assert queued() == set()


def test_it_says_how_much_is_from_before_metering_began(alice: Person, ready: Lago) -> None:
    before: dict[str, Any] = {"metered": False, "queued": False}
    usage(alice, 3, admitted_at=past(hours=2), **before)
    nothing: dict[str, Any] = {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_tokens": 0,
        "cost_nano": 0,
    }
    usage(alice, admitted_at=past(hours=2), **before, **nothing)
    usage(alice, admitted_at=past(hours=2), state="admitted", closed_at=None, **before)
    usage(alice, admitted_at=past(days=90), **before)  # out of range
    assert f"3 {EARLIER}" in reconciled()[1]
    usage(alice, admitted_at=past(hours=1))
    usage(alice, admitted_at=past(), **before)  # of an upstream that meters itself
    export_all()
    code, said = reconciled()
    assert code == 0
    assert f"3 {EARLIER}" in said
    assert EARLIER not in reconciled("--from", past(hours=1.5).isoformat())[1]
