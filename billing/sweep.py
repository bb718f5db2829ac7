"""Rows whose process died: settle them, flagged as estimated."""

import logging
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import Error, close_old_connections

from accounts.outages import Outage
from billing import alarms, ledger, pruning, tariff, workers
from billing.ledger import Closing, State
from billing.models import UsageRecord
from billing.tariff import Tariff
from billing.tokens import Settled, TokenCounts

log = logging.getLogger(__name__)
_outage = Outage(log, "the sweeper found no database")

EVERY_S = 5.0  # between two looks
AT_ONCE = 500  # rows in one transaction; others must get their turn at the database too
PRUNE_EVERY_S = 3600.0


class Sweeper:
    """Looks for dead processes and settles what they left open."""

    def __init__(self) -> None:
        self._watch = workers.Watch()
        self._pruned_at: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop. A database that is away is tried again."""
        while not stop.wait(EVERY_S):
            close_old_connections()
            try:
                self.step(time.monotonic())
                _outage.over()
            except Error as error:
                _outage.met(error)
            finally:
                close_old_connections()

    def step(self, now_s: float) -> int:
        """One look; how many rows it settled. `now_s` is a monotonic time."""
        self._prune(now_s)
        open_rows = UsageRecord.objects.filter(state=State.ADMITTED)
        busy = set(open_rows.order_by().values_list("worker_id", flat=True).distinct())
        beats = workers.beats(busy)
        settled = 0
        for worker in self._watch.dead(beats, now_s):
            if worker == workers.OWN_ID:
                continue  # this very process: its database is slow, not its heart
            settled += settle(worker)
            if worker is not None:
                workers.forget(worker)
        return settled

    def _prune(self, now_s: float) -> None:
        if self._pruned_at is not None and now_s - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = now_s
        pruning.prune(settings.KEEP_DAYS)


def settle(worker: UUID | None) -> int:
    """Close every open row of a process that is dead; how many there were."""
    rows = UsageRecord.objects.filter(state=State.ADMITTED, worker_id=worker).order_by("id")
    prices = tariff.read()
    now = datetime.now(UTC)
    count = 0
    while found := list(rows[:AT_ONCE]):
        ledger.close_dead([(row, _closing(row, prices, now)) for row in found])
        count += len(found)
    if count:
        log.warning("%d requests of a process that died were settled as estimates", count)
        name = str(worker) if worker else "of an earlier release"
        alarms.sound(alarms.Code.DEAD_WORKER, name, f"{count} requests were settled.")
    return count


def _closing(row: UsageRecord, prices: Tariff, now: datetime) -> Closing:
    """What can be known: the upstream was or was about to be asked with an input of this size."""
    charge = None
    if not row.own_credential:
        charge = prices.charge(
            [row.target_model],
            upstream=row.upstream,
            organization_id=row.organization_id,
            at=row.admitted_at,
        )
    return Closing(
        state=State.INTERRUPTED,
        duration_ms=int((now - row.admitted_at).total_seconds() * 1000),
        upstream=row.upstream,
        target_model=row.target_model,
        own_credential=row.own_credential,
        moved_from=row.moved_from,
        settled=Settled(
            counts=TokenCounts(input_tokens=row.expected_input_tokens),
            estimated=True,
            flags=("swept",),
        ),
        charge=charge,
        metered=row.metered,
    )
