"""The server's processes: one in the foreground, or several that share a socket under a parent.

The parent is uvicorn's: it starts anew whoever dies or hangs, passes SIGTERM on, and on SIGHUP
replaces one after the other, each once its successor serves. Ours is what it lacks: a stop that
waits for no replacement, patience with who dies again and again, and children that do not outlive
it.

Nothing here is imported with Django set up: a child begins with this module, and with asgi.py.
"""

import os
import signal
import socket
import sys
import threading
import time

import uvicorn
from uvicorn.supervisors import multiprocess

HUNG_S = 30  # without an answer of its own thread; a start on a loaded machine takes ten
ORPHAN_S = 1.0  # between two looks whether the parent is there
WELL_S = 60.0  # who ran so long was well: the next one is started at once
MOST_REST_S = 30.0  # before the next one where it is not so; it doubles from one second


class Server(uvicorn.Server):
    """uvicorn, which tells load balancers and machines that it stops before it cuts them off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        from mcp import beside
        from opscenter import readiness

        readiness.start_draining()
        await beside.say_goodbye()
        await super().shutdown(sockets)


class Member(multiprocess.Process):
    """One of several, with the same server as one alone."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the child, as long as there is a parent: else nobody could take the port."""
        watch = threading.Thread(target=_stop_when_orphaned, args=[os.getppid()], daemon=True)
        watch.start()
        super().target(sockets)


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
        """Start anew who has died; the longer after, the sooner the last one did."""
        before = [one.pid for one in self.processes]
        if all(one.process.is_alive() for one in self.processes):
            super().keep_subprocess_alive()  # who hangs shows only there
        else:
            was_well = time.monotonic() - self._started_at >= WELL_S
            self._rest_s = 0.0 if was_well else min(self._rest_s * 2 or 1.0, MOST_REST_S)
            self.should_exit.wait(self._rest_s)
            super().keep_subprocess_alive()
        if [one.pid for one in self.processes] != before:
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
