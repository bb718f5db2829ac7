"""`/metrics`: what the apps count, and what waits in the tables, for Prometheus.

All of it is gathered in one thread of its own: reading the counters of several workers, and the
tables, would hold up every request on the event loop.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.conf import settings
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Metric,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import billing.backlog
import mcp.backlog
from accounts.outages import Outage
from accounts.reads import DatabaseAwayError, off_loop

log = logging.getLogger(__name__)
_outage = Outage(log, "the database did not answer a scrape")

CONTENT_TYPE = CONTENT_TYPE_LATEST
WAIT_S = 3.0  # for the tables; Prometheus gives a scrape ten seconds

_thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
_tables = ThreadPoolExecutor(1, thread_name_prefix="backlog")
Both = tuple[billing.backlog.Backlog, mcp.backlog.Backlog]


class Gathering:
    """Looks at the tables, one look at a time: who asks while one hangs gets nothing of them."""

    def __init__(self) -> None:
        self._task: asyncio.Future[Both] | None = None

    async def look(self, wait_s: float = WAIT_S) -> Both | None:
        """What waits; None where the database does not say so in time."""
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(_look())
        task = self._task  # while this one is waited for, others may have begun the next
        done, _ = await asyncio.wait([task], timeout=wait_s)
        if not done:
            return None
        try:
            found = task.result()
        except DatabaseAwayError as error:
            _outage.met(error.__cause__)
            return None
        _outage.over()
        return found


def _both() -> Both:
    return billing.backlog.read(), mcp.backlog.read()


_look = off_loop(_both, _tables, wait_s=None)
_gathering = Gathering()


async def text() -> bytes:
    """All of it in Prometheus's own format."""
    waiting = Waiting(await _gathering.look())
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, _text, waiting)


def _text(waiting: "Waiting") -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(waiting)
    if settings.METRICS_FOLDER:
        registry.register(Counted(Path(settings.METRICS_FOLDER)))
        return generate_latest(registry)
    return generate_latest(REGISTRY) + generate_latest(registry)


class Counted(Collector):
    """What all workers have counted, those that are gone too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Without the files of who was killed before the first number stood in them."""
        files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = multiprocess.MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]  # it has no types
        return found


class Waiting(Collector):
    """What waits in the tables, as gauges. They are all workers' together: take the maximum."""

    def __init__(self, found: Both | None) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Without the tables, one gauge that says so: a queue of 0 would be a lie."""
        name, says = "opscenter_database_up", "1: the database has answered this scrape"
        yield GaugeMetricFamily(name, says, value=0 if self._found is None else 1)
        if self._found is not None:
            yield from _of_billing(self._found[0])
            yield from _of_mcp(self._found[1])


def _of_billing(found: billing.backlog.Backlog) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "opscenter_requests_open", "Rows of the ledger that are open", found.open_requests
    )
    events = GaugeMetricFamily("opscenter_outbox_events", "Events for Lago", labels=["state"])
    events.add_metric(["pending"], found.outbox_pending)
    events.add_metric(["parked"], found.outbox_parked)
    yield events
    yield GaugeMetricFamily(
        "opscenter_outbox_lag_seconds", "Age of the oldest event pending", found.outbox_lag_s
    )
    yield GaugeMetricFamily("opscenter_alarms", "Alarms in the admin", found.alarms)


def _of_mcp(found: mcp.backlog.Backlog) -> Iterator[Metric]:
    sessions = GaugeMetricFamily(
        "opscenter_tunnel_sessions", "Machines that are there", labels=["transport"]
    )
    for transport, count in found.sessions.items():
        sessions.add_metric([transport], count)
    yield sessions
    calls = GaugeMetricFamily("opscenter_tool_calls_open", "Tool calls", labels=["state"])
    for state, count in found.calls.items():
        calls.add_metric([state], count)
    yield calls
    yield GaugeMetricFamily(
        "opscenter_tool_queue_age_seconds",
        "Age of the oldest tool call that no machine has taken",
        found.queue_age_s,
    )
