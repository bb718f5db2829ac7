"""The server's processes: one in the foreground, or several that share a socket under a parent.

The parent is uvicorn's: it starts anew whoever dies or hangs, passes SIGTERM on, and on SIGHUP
replaces one after the other, each once its successor serves. Ours is what it lacks: a stop that
waits for no replacement, patience with who dies again and again, and children that do not outlive
it.

Nothing here is imported with Django set up: a child begins with this module, and with asgi.py.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time

import uvicorn
from uvicorn.supervisors import multiprocess

log = logging.getLogger(__name__)

HUNG_S = 30  # without an answer of its own thread; a start on a loaded machine takes ten
TICK_S = 0.1
ORPHAN_S = 1.0  # between two looks whether the parent is there
WELL_S = 60.0  # who ran so long was well: the next one is started at once
MOST_REST_S = 30.0  # before the next one where it is not so; it doubles from one second


class Server(uvicorn.Server):
    """uvicorn, which tells load balancers and machines that it stops before it cuts them off."""

    has_successor = False

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

    @property
    def server(self) -> Server:
        if not isinstance(self._server, Server):
            self._server = Server(self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the child, as long as there is a parent: else nobody could take the port."""
        watch = threading.Thread(target=_stop_when_orphaned, args=[os.getppid()], daemon=True)
        watch.start()
        signal.signal(signal.SIGHUP, self.server.retire)
        super().target(sockets)

    def is_alive(self, timeout: float = HUNG_S) -> bool:
        """Whether it answers. Who dies while it is asked is not waited for."""
        ends_at = time.monotonic() + timeout
        try:
            self.parent_conn.send(b"ping")
            while self.process.is_alive() and time.monotonic() < ends_at:
                if self.parent_conn.poll(TICK_S):
                    self.parent_conn.recv()
                    return True
        except (OSError, EOFError):
            log.debug("the line to process %s is cut", self.pid)
        return False

    def terminate(self) -> None:
        """Make way for a successor: to load balancers the port goes on as it was."""
        if self.pid is not None and self.exitcode is None:
            os.kill(self.pid, signal.SIGHUP)
            log.info("process %d makes way", self.pid)
        self.parent_conn.close()
        self.child_conn.close()


class Parent(multiprocess.Multiprocess):
    """Of several."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._rest_s = 0.0
        self._started_at = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        """At once: uvicorn looks at signals only when a replacement is through with its streams."""
        self.should_exit.set()
        for one in self.processes:
            # Not its own `terminate`: that closes the line by which it is asked whether it lives,
            # and who is being asked just then would be taken for hung and killed.
            if one.pid is not None and one.exitcode is None:
                os.kill(one.pid, signal.SIGTERM)

    def keep_subprocess_alive(self) -> None:
        """Start anew who has died or hangs; the longer after, the sooner the last one did."""
        gone = [one for one in self.processes if not one.is_alive(HUNG_S)]
        if not gone:
            return
        for one in gone:
            one.process.kill()  # who hangs; uvicorn would ask it once more, as long
        was_well = time.monotonic() - self._started_at >= WELL_S
        self._rest_s = 0.0 if was_well else min(self._rest_s * 2 or 1.0, MOST_REST_S)
        self.should_exit.wait(self._rest_s)
        super().keep_subprocess_alive()
        self._started_at = time.monotonic()


def _stop_when_orphaned(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(ORPHAN_S)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(config: uvicorn.Config) -> None:
    """Until SIGINT or SIGTERM; `config.workers` says how many."""
    if config.workers == 1:
        server = Server(config)
        server.run()
        if not server.started:
            sys.exit(3)  # as uvicorn's own command says that it could not start
        return
    # uvicorn names the class of its children by this and offers no other place to say so.
    multiprocess.Process = Member  # type: ignore[misc]  # to mypy a class is no variable
    Parent(config, sockets=[config.bind_socket()]).run()
