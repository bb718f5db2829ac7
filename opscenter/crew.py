"""The server's processes: one in the foreground, or several that share a socket under a parent.

The parent is uvicorn's: it passes signals on, and on SIGHUP replaces one after the other, each once
its successor serves. Ours is what it lacks: a stop that waits for no replacement, patience with who
dies again and again, an end to who hangs, and children that do not outlive it.
"""

import logging
import signal
import socket
import sys
import time

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from opscenter.member import TICK_S, Member, Server

log = logging.getLogger(__name__)

HUNG_S = 30  # without an answer from its event loop
READY_S = 30  # until it serves; on a loaded machine it takes ten
WELL_S = 60.0  # who ran so long was well: the next one is started at once
MOST_REST_S = 30.0  # before the next one where it is not so; it doubles from one second


class Parent(multiprocess.Multiprocess):
    """Of several."""

    processes: list[Member]  # type: ignore[assignment]  # uvicorn's list, of ours

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.has_failed = False
        self._leaving: list[Member] = []  # who has a successor and still some streams
        self._rest_s = 0.0
        self._started_at = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._replace)

    def _stop(self, number: int, _: object) -> None:
        """At once: uvicorn looks at signals only when a replacement is through with its streams."""
        is_impatient = self.should_exit.is_set() and number == signal.SIGINT
        self.should_exit.set()
        for one in [*self._leaving, *self.processes]:
            if is_impatient:
                one.hurry()
            one.stop()

    def _replace(self, number: int, _: object) -> None:
        """Who asks again before it has begun gets no second replacement."""
        if number not in self.signal_queue:
            self.signal_queue.append(number)

    def restart_all(self) -> None:
        """One after the other makes way."""
        for place, old in enumerate(self.processes):
            new = self._started()
            if not new.wait_until_ready(READY_S, self.should_exit):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    log.error("process %s does not serve: those that do go on", new.pid)
                return
            self._leaving.append(old)
            self.processes[place] = new  # a stop from now on is for it, too
            old.terminate()
            while not old.has_ended():
                if self.should_exit.wait(TICK_S):
                    return
            self._leaving.remove(old)

    def keep_subprocess_alive(self) -> None:
        """Start anew who has died or hangs; the longer after, the sooner the last one did."""
        gone = [
            place
            for place, one in enumerate(self.processes)
            if not one.answers(HUNG_S, self.should_exit)
        ]
        if not gone or self.should_exit.is_set():
            return
        for place in gone:
            self.processes[place].kill()
            self.processes[place].join()
            log.error("process %s died, or did not answer", self.processes[place].pid)
        if all(one.exitcode == STARTUP_FAILURE for one in self.processes):
            self.has_failed = True  # so would their successors
            self.should_exit.set()
            return
        was_well = time.monotonic() - self._started_at >= WELL_S
        self._rest_s = 0.0 if was_well else min(self._rest_s * 2 or 1.0, MOST_REST_S)
        if self.should_exit.wait(self._rest_s):
            return
        for place in gone:
            self.processes[place] = self._started()
        self._started_at = time.monotonic()

    def _started(self) -> Member:
        one = Member(self.config, self.sockets)
        one.start()
        return one

    def terminate_all(self) -> None:
        """Tell whoever was not there yet when the signal came."""
        for one in self.processes:
            one.stop()

    def join_all(self) -> None:
        """Until all are gone, also who was being replaced."""
        for one in [*self._leaving, *self.processes]:
            one.join()


def serve(config: uvicorn.Config) -> None:
    """Until SIGINT or SIGTERM; `config.workers` says how many."""
    if config.workers == 1:
        server = Server(config)
        server.run()
        has_failed = not server.started
    else:
        # uvicorn names the class of its children by this and offers no other place to say so.
        multiprocess.Process = Member  # type: ignore[misc]  # to mypy a class is no variable
        parent = Parent(config, sockets=[config.bind_socket()])
        parent.run()
        has_failed = parent.has_failed
    if has_failed:
        sys.exit(STARTUP_FAILURE)  # as uvicorn's own command says that it could not start
