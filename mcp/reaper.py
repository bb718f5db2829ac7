"""Looks each second for calls whose time is over, or that nobody waits for, and moves them on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django.conf import settings
from django.db import Error, close_old_connections

from accounts.outages import Outage
from billing import workers
from mcp import auditing, calls, reaping

log = logging.getLogger(__name__)
_outage = Outage(log, "the reaper found no database")

EVERY_S = 1.0  # between two looks: so late may a deadline be noticed
WAITERS_EVERY_S = 5.0  # between two looks at who waits; must be well below workers.LOOKS_S
PURGE_EVERY_S = 3600.0

Touched = Mapping[str, Sequence[UUID]]  # ids of calls, by what became of them


def _nobody(touched: Touched) -> None:
    pass


class Reaper:
    """One look is a step. Several may run at once, in any processes: each row moves once."""

    def __init__(self, told: Callable[[Touched], None] = _nobody) -> None:
        self._told = told
        self._watch = workers.Watch()
        self._watched_at: float | None = None
        self._purged_at: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop. A database that is away is tried again."""
        while not stop.wait(EVERY_S):
            close_old_connections()
            try:
                self.step(time.monotonic())
                _outage.over()
            except Error as error:
                _outage.met(error)
            finally:
                close_old_connections()

    def step(self, now_s: float) -> Touched:
        """One look; what it changed and told. `now_s` is a monotonic time."""
        touched = calls.reap(self._dead_waiters(now_s)).touched()
        if touched:
            self._told(touched)
        auditing.write()
        self._purge(now_s)
        return touched

    def _dead_waiters(self, now_s: float) -> list[UUID]:
        if not _is_due(self._watched_at, now_s, WAITERS_EVERY_S):
            return []
        self._watched_at = now_s
        dead = self._watch.dead(workers.beats(reaping.waiters()), now_s)
        # This very process lives: its database is slow, not its heart.
        return [waiter for waiter in dead if waiter is not None and waiter != workers.OWN_ID]

    def _purge(self, now_s: float) -> None:
        if not _is_due(self._purged_at, now_s, PURGE_EVERY_S):
            return
        self._purged_at = now_s
        if count := calls.purge(settings.MCP_KEEP_DAYS):
            log.info(
                "%d tool calls of more than %d days ago were deleted", count, settings.MCP_KEEP_DAYS
            )


def _is_due(last_s: float | None, now_s: float, every_s: float) -> bool:
    return last_s is None or now_s - last_s >= every_s
