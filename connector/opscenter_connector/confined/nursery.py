"""Forks a keeper for each command: a process of one thread, without keys, which is safe to fork.

Its input is a socket. Each message is one byte and, beside it, the files of one command: the order,
the control socket, both outputs, and the folders that it may write. The end of input is its end.
"""

import gc
import os
import select
import socket
from contextlib import suppress

from opscenter_connector.confined import family, keeper

MAX_FILES = 253  # the kernel's bound for one message
WAKE_S = 60.0  # no event is lost, but a lost one would cost no more


class Nursery:
    """Its keepers, of which one always waits for the next command, and what they leave behind."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._keepers: set[int] = set()
        self._spare = self._born()

    def run(self) -> None:
        awake = keeper.ready()
        poll = select.poll()
        poll.register(self._asked, select.POLLIN)
        poll.register(awake, select.POLLIN)
        while True:
            happened = {fd for fd, _ in poll.poll(WAKE_S * 1000)}
            if awake in happened:
                with suppress(BlockingIOError):
                    os.read(awake, 1024)
                self._tidy()
            if self._asked.fileno() in happened and not self._take():
                return

    def _take(self) -> bool:
        said, files, _, _ = socket.recv_fds(self._asked, 1, MAX_FILES)
        if not said:
            return False
        try:
            socket.send_fds(self._spare, [said], files)
        except OSError:  # somebody has killed it
            self._spare.close()
            self._spare = self._born()
            socket.send_fds(self._spare, [said], files)
        for fd in files:
            os.close(fd)
        self._spare.close()
        self._spare = self._born()
        return True

    def _born(self) -> socket.socket:
        """The line to a keeper that waits: to fork takes time, which no command then has to."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._asked.close()
            _keep(theirs)
        theirs.close()
        self._keepers.add(pid)
        return ours

    def _tidy(self) -> None:
        """Processes whose keeper was killed have come to be children of ours."""
        ended, _ = family.reap()
        self._keepers -= ended.keys()
        if not family.LINUX or not ended:
            return
        mine = [pid for pid in family.children(os.getpid()) if pid not in self._keepers]
        for pid in mine:
            family.kill([pid, *family.below(pid)])


def _keep(line: socket.socket) -> None:
    try:
        awake = keeper.ready()
        keeper.rehearse()
        said, files, _, _ = socket.recv_fds(line, 1, MAX_FILES)
        line.close()
        for fd in files:
            os.set_inheritable(fd, False)  # or a command would hold the line to its own keeper
        if said:
            order, control, *rest = files
            with os.fdopen(order, "rb") as file:
                text = file.read()
            keeper.keep(text, socket.socket(fileno=control), rest, awake)
    finally:
        os._exit(0)


def _close_what_was_inherited() -> None:
    """All but input, output and errors: whoever started the connector may have left files open.

    No layer confines a command that has an open folder: through it, it comes to the whole disk.
    """
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            with suppress(OSError):  # the one that the list was read by
                os.close(int(name))


def main() -> None:
    """What the connector starts. It has a session of its own: Ctrl-C is not for it."""
    _close_what_was_inherited()
    os.setsid()
    os.chdir("/")  # to keep nobody from removing the folder it was started in
    gc.freeze()  # what is there now is never collected, so a fork shares it for good
    Nursery(socket.socket(fileno=0)).run()
