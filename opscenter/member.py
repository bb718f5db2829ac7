"""One process of several that serve on a socket: its server, and what its parent asks of it.

Nothing here is imported with Django set up: a child begins with this module, and with asgi.py.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress

import uvicorn
from uvicorn.supervisors import multiprocess

log = logging.getLogger(__name__)

TICK_S = 0.1
ORPHAN_S = 1.0  # between two looks whether the parent is there
LATE_S = 20.0  # for what the ledger owes, after the streams; who takes longer hangs


class Server(uvicorn.Server):
    """uvicorn, which tells load balancers and machines that it stops before it cuts them off."""

    has_successor = False
    loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def retire(self, *_: object) -> None:
        """Stop, because another process serves on the same socket already."""
        self.has_successor = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        from mcp import beside

        # Whoever is answered from now on asks on a new connection, which may be another process's.
        self.server_state.default_headers.append((b"connection", b"close"))
        if not self.has_successor:
            await self._be_drained()
        for server in self.servers:
            server.close()  # before machines are sent away: they come back in a moment, to others
        await beside.say_goodbye()
        await super().shutdown(sockets)

    async def _be_drained(self) -> None:
        """Serve on until load balancers have seen that they should ask elsewhere."""
        from django.conf import settings

        from opscenter import readiness

        readiness.start_draining()
        ends_at = time.monotonic() + settings.DRAIN_DELAY_S
        # Who cannot wait says so to a signal's handler, and that can set no event of the loop.
        while time.monotonic() < ends_at and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)


class Member(multiprocess.Process):
    """One of several, with the same server as one alone."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        from django.conf import settings

        super().__init__(config, sockets)
        self._parent = os.getpid()
        self._most_s = settings.DRAIN_DELAY_S + settings.DRAIN_S + LATE_S
        self._ends_by = 0.0  # once it is told to end

    @property
    def server(self) -> Server:
        if not isinstance(self._server, Server):
            self._server = Server(self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the child, as long as there is a parent: else nobody could take the port."""
        watch = threading.Thread(
            target=_stop_when_orphaned, args=[self._parent, self._most_s], daemon=True
        )
        watch.start()
        signal.signal(signal.SIGHUP, self.server.retire)
        super().target(sockets)

    def pong(self) -> None:
        """Answer, in the child, from where requests are served: who is stuck there is of no use."""
        self.child_conn.recv()
        if self.server.loop is None:  # it starts
            self.child_conn.send(False)
            return
        with suppress(RuntimeError):  # it has ended
            self.server.loop.call_soon_threadsafe(self._say_that_it_lives)

    def _say_that_it_lives(self) -> None:
        with suppress(OSError):  # the parent does not ask any more
            self.child_conn.send(self.server.started)

    def answers(self, within_s: float, stop: threading.Event) -> bool:
        """Whether it lives. Who dies while it is asked is not waited for, nor anybody at a stop."""
        ends_at = time.monotonic() + within_s
        try:
            self.parent_conn.send(b"ping")
            while self.process.is_alive() and time.monotonic() < ends_at:
                if self.parent_conn.poll(TICK_S):
                    self.parent_conn.recv()
                    return True
                if stop.is_set():
                    return True
        except (OSError, EOFError):
            log.debug("the line to process %s is cut", self.pid)
        return False

    def stop(self, by: int = signal.SIGTERM) -> None:
        """Tell it to end, once; its time runs from now on."""
        if not self._ends_by and self.pid is not None and self.exitcode is None:
            self._ends_by = time.monotonic() + self._most_s
            os.kill(self.pid, by)

    def hurry(self) -> None:
        """Have it wait for nobody."""
        if self.pid is not None and self.exitcode is None:
            os.kill(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        """Make way for a successor: to load balancers the port goes on as it was."""
        self.stop(signal.SIGHUP)
        log.info("process %s makes way", self.pid)

    def has_ended(self) -> bool:
        """Whether it is gone; who was told to end and does not is killed."""
        if self.process.is_alive() and self._ends_by and time.monotonic() > self._ends_by:
            log.error("process %s did not end in %.0f s and is killed", self.pid, self._most_s)
            self.process.kill()
            self.process.join()
        return not self.process.is_alive()

    def join(self) -> None:
        """Until it is gone."""
        while not self.has_ended():
            self.process.join(TICK_S)


def _stop_when_orphaned(parent: int, most_s: float) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(ORPHAN_S)
    os.kill(os.getpid(), signal.SIGTERM)
    never.wait(most_s)
    os.kill(os.getpid(), signal.SIGKILL)  # who would have done so is gone
