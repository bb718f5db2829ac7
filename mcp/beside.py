"""What runs beside the requests for the tunnel: the bell, the reaper, the look after living
sessions, and the calls of servers that the gateway reaches itself."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from django.conf import settings

from accounts import auth
from mcp import bell, closing, lastwords, living, registry, threads
from mcp.direct_worker import Worker
from mcp.reaper import Reaper, Touched
from mcp.threads import off_loop

log = logging.getLogger(__name__)

SEEN_S = 10.0  # between two notes of who is there; registry.ONLINE_S allows for three lost ones
# A revocation holds within five seconds, as it does for HTTP. One read for all sockets of the
# process, so looking so often costs nothing; a look into the memory of keys would cost a read for
# each key, since its memory is as old as this.
KEYS_S = 4.0
STOP_S = 2.0  # for the farewells at a stop
REAPER_STOP_S = 5.0  # a look in the middle of a transaction ends it; more is a database that hangs


class Beside:
    """From the server's start to its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        bell.current().connect()
        self._worker = Worker() if settings.MCP_HTTP else None
        if self._worker is not None:
            self._worker.start()
        self._stop = threading.Event()
        # A daemon: a database that hangs must not keep the process from ending.
        self._reaping = threading.Thread(
            target=Reaper(_ring).run, args=[self._stop], name="reaper", daemon=True
        )
        self._reaping.start()
        self._tasks = [
            loop.create_task(_every(SEEN_S, note_who_is_there)),
            loop.create_task(_every(KEYS_S, end_closed_keys)),
        ]

    async def end(self) -> None:
        """Stop all of it, once no request is under way."""
        self._stop.set()
        if self._worker is not None:
            await self._worker.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await lastwords.all_said()
        await bell.shutdown()
        await asyncio.to_thread(self._reaping.join, REAPER_STOP_S)
        await asyncio.to_thread(threads.close)


def _ring(touched: Touched) -> None:
    """Wake those who wait for calls that the reaper ended; what it put back is looked for."""
    for call_id in {one for ids in touched.values() for one in ids}:
        bell.ring_call(call_id)


async def say_goodbye() -> None:
    """End all sessions because the process stops: their machines come back, to another one."""
    living.stop(closing.RESTARTING, "The gateway is restarting.")
    with suppress(TimeoutError):  # the server then cuts off who does not listen
        async with asyncio.timeout(STOP_S):
            for one in living.everyone():
                if one.is_socket:
                    await one.gone.wait()


async def note_who_is_there() -> None:
    """One update for all machines of this process; sessions that nobody polls are forgotten."""
    there = []
    for one in living.everyone():
        if one.is_there:
            there.append(one.opened.connector_id)
        else:
            one.forget()
    if there:
        await _see(there)


async def end_closed_keys() -> None:
    """End the sessions whose key would be refused now."""
    shown = {one.shown for one in living.everyone() if one.shown is not None}
    if not shown:
        return
    closed = await auth.closed(shown)
    for one in living.everyone():
        if one.shown in closed:
            one.end(closing.WRONG_CREDENTIAL, closed[one.shown])


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    is_away = False
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
            is_away = False
        except Exception as error:  # whatever it is, the next step may be better
            if not is_away:
                log.warning("%s fails: %r", step.__name__, error)
            is_away = True


_see = off_loop(registry.see)
