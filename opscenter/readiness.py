"""Whether this process should be given requests: not while it stops, nor on unknown tables.

A database that is slow or away for a moment changes nothing: every process would leave the load
balancer at once, and come back at once. What was known last counts for KEEP_S.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from accounts.outages import Outage
from accounts.reads import DatabaseAwayError, off_loop
from billing import writer

log = logging.getLogger(__name__)
_outage = Outage(log, "the database did not answer a look at its migrations")

LOOK_S = 5.0  # the database is asked at most this often, however many probes there are
WAIT_S = 0.5  # a probe waits for the answer this long: Traefik and Kubernetes give it 1 to 5 s
KEEP_S = 60.0  # a restart of the database is over by then; after it nobody knows anything

DRAINING = "it is stopping"
BEHIND = "the database lacks migrations: run `manage.py migrate`"
UNKNOWN = "the database does not answer"
FULL = "the database takes no rows: is its disk full, or may it only be read?"

_draining = False
# One thread of its own: a database that hangs must not take a reader from those who need keys.
_thread = ThreadPoolExecutor(1, thread_name_prefix="ready")


def start_draining() -> None:
    """From now on this process wants no new requests. Those it has go on."""
    global _draining
    _draining = True


def is_draining() -> bool:
    """Whether it is stopping."""
    return _draining


class Readiness:
    """What is known of the database, by looks that no probe waits long for."""

    def __init__(
        self,
        look: Callable[[], Awaitable[bool]],
        *,
        behind_s: Callable[[], float] = lambda: writer.current().behind_s(),
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        self._look = look
        self._behind_s = behind_s
        self._clock = clock
        self._wait_s = wait_s
        self._task: asyncio.Task[None] | None = None
        self._begun_at = float("-inf")
        self._known_at = float("-inf")
        self._has_tables = False

    async def refusal(self) -> str:
        """Why no requests should come here; empty where they should."""
        if is_draining():
            return DRAINING
        await self._refresh()
        if self._clock() - self._known_at > KEEP_S:
            return UNKNOWN
        # Beats are written every few seconds: what cannot be written shows without any request.
        if self._behind_s() > KEEP_S:
            return FULL
        return "" if self._has_tables else BEHIND

    async def _refresh(self) -> None:
        now = self._clock()
        if self._task is None or self._task.done():
            if now - self._begun_at < LOOK_S and self._known_at >= self._begun_at:
                return
            self._begun_at = now
            self._task = asyncio.create_task(self._ask(now))
        # Not cancelled when the time is up: the next probe finds what it has found.
        await asyncio.wait([self._task], timeout=self._wait_s)

    async def _ask(self, begun_at: float) -> None:
        try:
            self._has_tables = await self._look()
        except (DatabaseAwayError, Error) as error:
            _outage.met(error.__cause__ or error)
            return
        _outage.over()
        self._known_at = begun_at


def _has_tables() -> bool:
    """Whether every migration of this release is applied. More of them are a later release's."""
    return _newest() <= set(MigrationRecorder(connection).applied_migrations())


@cache
def _newest() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


current = Readiness(off_loop(_has_tables, _thread, wait_s=None))
