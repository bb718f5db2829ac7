"""What runs beside the requests: this process's heartbeat, the sweep after dead ones, a tunnel,
and the end of answers that no retry is for any more."""

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error, close_old_connections

from accounts import tracing
from billing import workers
from billing.sweep import Sweeper
from mcp import beside as tunnel
from proxy import joining

if TYPE_CHECKING:
    from opscenter.otlp import Teller

STOP_S = 5.0  # a sweep in the middle of a transaction ends it; more is a database that hangs


class Beside:
    """All from the server's start to its end."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        # A daemon: a database that hangs must not keep the process from ending.
        self._sweeping = threading.Thread(
            target=Sweeper().run, args=[self._stop], name="sweeper", daemon=True
        )
        self._beating = asyncio.get_running_loop().create_task(_beat())
        self._purging = asyncio.get_running_loop().create_task(joining.purge())
        self._tunnel = tunnel.Beside()
        self._traces = _traces()

    def start(self) -> None:
        """Begin to sweep; the heart beats already."""
        self._sweeping.start()

    async def end(self) -> None:
        """Stop all. Call it before the writer ends."""
        self._stop.set()
        for task in (self._beating, self._purging):
            task.cancel()
        await asyncio.gather(self._beating, self._purging, return_exceptions=True)
        await self._tunnel.end()
        await asyncio.to_thread(self._sweeping.join, STOP_S)
        if self._traces is not None:
            tracing.tell_by(None)
            await asyncio.to_thread(self._traces.close)


def _traces() -> "Teller | None":
    """Who tells of what has ended, where an operator named a collector."""
    if not settings.OTLP_URL:
        return None
    from opscenter.otlp import Teller  # OpenTelemetry's modules are many; most do without them

    teller = Teller()
    tracing.tell_by(teller.tell)
    return teller


async def _beat() -> None:
    while True:
        workers.beat()
        await asyncio.sleep(workers.BEAT_S)


def sign_off() -> None:
    """Take this process off the list of those that live, once all its rows are written."""
    close_old_connections()
    with suppress(Error):  # then the others find out by themselves
        workers.forget(workers.OWN_ID)
    close_old_connections()
