"""Usage on its way to Lago: each event at least once, under the same name each time.

Lago takes an event that it has already as delivered, so whatever ends in doubt is sent again.
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import Error, close_old_connections, transaction
from django.db.models import F, Q, QuerySet

from billing import alarms, events, lago
from billing.models import OutboxEvent, Subscription, UsageRecord
from billing.outage import Outage

log = logging.getLogger(__name__)

LEASE_S = 60  # the hands of a dead exporter are empty after this
ROUND_S = LEASE_S - 2 * lago.TOTAL_S  # begun later, a call might outlive the lease
IDLE_S = 1.0  # between two looks at an empty outbox
BACK_OFF_S = 1.0  # after the first failure; it doubles
MOST_BACK_OFF_S = 300.0  # an outage of hours is over for us after this
SPLIT_AFTER = 3  # failures that may be the fault of what is sent, then it goes in smaller batches
PARK_AFTER = 8  # failures; by then it goes alone, for 100 >> 6 is one
MOST_DEFERRED_S = 60.0  # until a batch that failed is tried again
MOST_ALONE = 1000  # suspects that are remembered
REASON_CHARS = 500

Events = dict[UUID, lago.Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one step did. `failed`: why not all went; `after_s`: when Lago says to come back.

    `is_away`: it failed, and Lago has not looked at the events.
    """

    claimed: int = 0
    delivered: int = 0
    parked: int = 0
    failed: str = ""
    is_away: bool = False
    after_s: float | None = None

    def plus(self, more: "Found") -> "Found":
        """Both together, of one batch."""
        return Found(
            claimed=self.claimed,
            delivered=self.delivered + more.delivered,
            parked=self.parked + more.parked,
            failed=more.failed,
            is_away=more.is_away,
            after_s=more.after_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events in our hands until the lease ends."""

    ids: tuple[UUID, ...]
    until: datetime
    attempts: int  # of the one that failed most


class Exporter:
    """Sends what is in the outbox. Several at once take turns and never share a batch."""

    def __init__(self, client: lago.Client) -> None:
        self._client = client
        self._suspects_next = False
        self._deliveries = 0
        # Events that failed alone, with the number of deliveries by then: if others pass in the
        # meantime and it fails again, the fault is its own.
        self._alone: dict[UUID, int] = {}

    def step(self) -> Found:
        """Send one batch."""
        batch = self._claim()
        if batch is None:
            return Found()
        left = _events_of(batch)
        found = Found(claimed=len(batch.ids), parked=_park_lost(batch, left))
        began = time.monotonic()
        while left and not found.failed and time.monotonic() - began < ROUND_S:
            more, left = self._round(batch, left)
            found = found.plus(more)
        _release(batch)
        return found

    def _round(self, batch: Batch, left: Events) -> tuple[Found, Events]:
        """Send what is left of the batch once; what remains of it is worth sending again."""
        sent = list(left)
        done: list[UUID] = []
        bad: dict[UUID, str] = {}
        try:
            acknowledged = self._client.send(list(left.values()))
            done = [i for i, event in left.items() if event["transaction_id"] in acknowledged]
            if not done:
                raise lago.RefusedError("Lago acknowledged none of the events.")
        except lago.RefusedByIndexError as refusal:
            done, bad = _sorted_out(refusal, sent)
            if not done and not bad:
                return self._failed(batch, sent, refusal), left
        except lago.LagoError as error:
            return self._failed(batch, sent, error), left
        parked = sum(_park(record_id, reason) for record_id, reason in bad.items())
        delivered = self._delivered(done)
        gone = {*done, *bad}
        rest = {i: event for i, event in left.items() if i not in gone}
        return Found(delivered=delivered, parked=parked), rest

    def _claim(self) -> Batch | None:
        """Take a batch. Those that failed often go in smaller ones, after the others."""
        now = datetime.now(UTC)
        with transaction.atomic():
            free = OutboxEvent.objects.select_for_update(skip_locked=True).filter(
                Q(leased_until=None) | Q(leased_until__lt=now), state=OutboxEvent.State.PENDING
            )
            first, second = (_suspects, _fresh) if self._suspects_next else (_fresh, _suspects)
            rows = first(free) or second(free)
            self._suspects_next = len(rows) < lago.MOST_EVENTS and not self._suspects_next
            if not rows:
                return None
            batch = Batch(
                ids=tuple(row.record_id for row in rows),
                until=now + timedelta(seconds=LEASE_S),
                attempts=max(row.attempts for row in rows),
            )
            OutboxEvent.objects.filter(record_id__in=batch.ids).update(leased_until=batch.until)
        return batch

    def _delivered(self, record_ids: Sequence[UUID]) -> int:
        OutboxEvent.objects.filter(record_id__in=record_ids).delete()
        self._deliveries += len(record_ids)
        for record_id in record_ids:
            self._alone.pop(record_id, None)
        return len(record_ids)

    def _failed(self, batch: Batch, left: list[UUID], error: lago.LagoError) -> Found:
        """Count it where it may be the fault of what was sent; park what surely is at fault."""
        text, is_away = str(error), not _refused(error)
        after_s = error.after_s if isinstance(error, lago.RetryLaterError) else None
        if not _by_content(error):
            return Found(failed=text, is_away=is_away, after_s=after_s)
        attempts = batch.attempts + 1
        if len(left) == 1 and self._others_pass(left[0]) and attempts >= PARK_AFTER:
            return Found(parked=_park(left[0], text), failed=text)
        deferred = timedelta(seconds=min(2.0 ** min(attempts, 10), MOST_DEFERRED_S))
        OutboxEvent.objects.filter(record_id__in=left, leased_until=batch.until).update(
            attempts=F("attempts") + 1, leased_until=datetime.now(UTC) + deferred
        )
        return Found(failed=text, is_away=is_away, after_s=after_s)

    def _others_pass(self, record_id: UUID) -> bool:
        """Whether others were delivered since it first failed alone."""
        if len(self._alone) >= MOST_ALONE:
            self._alone.clear()
        return self._deliveries > self._alone.setdefault(record_id, self._deliveries)


def run(stop: threading.Event, client: lago.Client) -> None:
    """Export until `stop`, however long Lago or the database is away."""
    exporter, outage, failures = Exporter(client), Outage(), 0
    log.info("export: started, sends to %s", urlsplit(settings.LAGO_API_URL).netloc.split("@")[-1])
    while not stop.is_set():
        try:
            found = exporter.step()
            _tell(outage, found)
        except Error as error:
            close_old_connections()
            found = Found(failed=f"the database: {error}")
        if not found.failed:
            failures = 0
            stop.wait(0 if found.claimed else IDLE_S)
            continue
        failures += 1
        wait_s = back_off(failures, found.after_s)
        log.warning("export: %s; again in %.0f s", found.failed, wait_s)
        stop.wait(wait_s)


def _tell(outage: Outage, found: Found) -> None:
    if found.delivered:
        outage.delivered(found.delivered)
    if found.is_away:
        outage.failed(found.failed, now_s=time.monotonic())


def back_off(failures: int, after_s: float | None = None) -> float:
    """Seconds to wait after so many failures in a row; never all exporters at the same moment."""
    doubled = min(BACK_OFF_S * 2.0 ** min(failures - 1, 20), MOST_BACK_OFF_S)
    spread = random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
    return max(doubled * spread, after_s or 0.0)


def subscriptions(organization_ids: set[UUID]) -> dict[UUID, str]:
    """The name that each organization's subscription has at Lago."""
    named = Subscription.objects.filter(
        organization_id__in=organization_ids, external_id__isnull=False
    ).exclude(external_id="")
    theirs = dict(named.values_list("organization_id", "external_id"))
    return {i: str(theirs.get(i) or i) for i in organization_ids}


def _fresh(free: QuerySet[OutboxEvent]) -> list[OutboxEvent]:
    rows = free.filter(attempts__lt=SPLIT_AFTER).order_by("record_id")
    return list(rows[: lago.MOST_EVENTS])


def _suspects(free: QuerySet[OutboxEvent]) -> list[OutboxEvent]:
    """Those that failed as often as the one that failed least of them, in a batch for that."""
    rows = free.filter(attempts__gte=SPLIT_AFTER)
    first = rows.order_by("attempts", "record_id").first()
    if first is None:
        return []
    size = max(1, lago.MOST_EVENTS >> min(first.attempts - SPLIT_AFTER + 1, 10))
    return list(rows.filter(attempts=first.attempts).order_by("record_id")[:size])


def _events_of(batch: Batch) -> Events:
    records = UsageRecord.objects.filter(id__in=batch.ids)
    named = subscriptions({record.organization_id for record in records})
    return {
        record.id: events.of(
            record,
            subscription=named[record.organization_id],
            code=settings.LAGO_EVENT_CODE,
            names=settings.LAGO_EVENT_PROPERTIES,
        )
        for record in sorted(records, key=lambda record: record.id)
    }


def _park_lost(batch: Batch, found: Events) -> int:
    lost = [record_id for record_id in batch.ids if record_id not in found]
    return sum(_park(record_id, "Its row of the ledger is gone.") for record_id in lost)


def _by_content(error: lago.LagoError) -> bool:
    if isinstance(error, lago.RetryLaterError):
        return error.by_content
    return _refused(error)


def _refused(error: lago.LagoError) -> bool:
    """Whether Lago has looked at the events and will not have them."""
    return isinstance(error, lago.RefusedError | lago.RefusedByIndexError)


def _sorted_out(
    refusal: lago.RefusedByIndexError, sent: Sequence[UUID]
) -> tuple[list[UUID], dict[UUID, str]]:
    """Those that Lago has already, and those that it will not have, with its reasons."""
    done = [sent[i] for i in refusal.delivered if i < len(sent)]
    bad = {
        sent[i]: "; ".join(f"{name}: {', '.join(said)}" for name, said in why.items())
        for i, why in refusal.details.items()
        if i < len(sent) and sent[i] not in set(done)
    }
    return done, bad


def _park(record_id: UUID, reason: str) -> int:
    """Put it aside until an operator retries it. 0: somebody else was faster."""
    short = reason.replace("\0", "")[:REASON_CHARS]
    with transaction.atomic():
        parked = OutboxEvent.objects.filter(
            record_id=record_id, state=OutboxEvent.State.PENDING
        ).update(state=OutboxEvent.State.PARKED, reason=short, leased_until=None)
        if parked:
            alarms.sound(alarms.Code.PARKED_EVENT, f"req_{record_id.hex}", short)
    log.warning("export: the event of req_%s is parked: %s", record_id.hex, short)
    return parked


def _release(batch: Batch) -> None:
    """Put back what is still in our hands: nothing else has this lease."""
    OutboxEvent.objects.filter(record_id__in=batch.ids, leased_until=batch.until).update(
        leased_until=None
    )
