"""The process that forks for us: started at the first command, and again should it be gone."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from opscenter_connector.confined import memory
from opscenter_connector.confined.order import BROKEN, END, Order, Report
from opscenter_connector.sandbox.layers import SandboxError

# Isolated, without site-packages: nothing but this package and the standard library is loaded.
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from opscenter_connector.confined.nursery import main; main()"
)
PACKAGES = Path(__file__).parents[2]
KILL_S = 8.0  # the keeper itself gives up after 5


class Child:
    """A command that runs: its outputs, and the line to its keeper."""

    def __init__(self, control: socket.socket, out: int, err: int) -> None:
        self.out, self.err = out, err
        self._control = control
        control.setblocking(False)

    def stop(self) -> None:
        """Have it ended. Its report comes all the same."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    async def report(self) -> Report:
        """How it ended, when nothing of it is left."""
        loop = asyncio.get_running_loop()
        said = b""
        with suppress(ConnectionError):
            while not said.endswith(END) and (chunk := await loop.sock_recv(self._control, 4096)):
                said += chunk
        if not said.endswith(END):
            return Report(ended=BROKEN, detail="what looked after it was killed")
        return Report.decode(said)

    def close(self) -> None:
        self._control.close()


class Nursery:
    """Start commands by it; one for the whole process is enough."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asks: socket.socket | None = None
        self._pid = 0

    def start(self, order: Order, folders: Sequence[int]) -> Child:
        """Raises SandboxError."""
        try:
            return self._start(order, folders)
        except OSError as error:
            raise SandboxError(f"no process could be started for it: {error}") from None

    def _start(self, order: Order, folders: Sequence[int]) -> Child:
        said = memory.holding(order.encode())
        ours, theirs = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        handed = [said, theirs.fileno(), out_end, err_end, *folders]
        try:
            self._send(handed)
        except OSError:
            ours.close()
            os.close(out)
            os.close(err)
            raise
        finally:
            theirs.close()
            for fd in (said, out_end, err_end):
                os.close(fd)
        return Child(ours, out, err)

    def _send(self, files: list[int]) -> None:
        with self._lock:
            if self._asks is not None:
                try:
                    socket.send_fds(self._asks, [b"!"], files)
                except (BrokenPipeError, ConnectionError):
                    self.close()
                else:
                    return
            self._asks = self._born()
            socket.send_fds(self._asks, [b"!"], files)

    def _born(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
        argv = [sys.executable, "-I", "-S", "-c", PROGRAM, str(PACKAGES)]
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                argv,
                {"LANG": "C.UTF-8"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), *nothing],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def close(self) -> None:
        """It ends with its input; commands that run are kept by their keepers until they end."""
        if self._asks is not None:
            self._asks.close()
            self._asks = None
        if self._pid:
            with suppress(OSError):
                os.waitpid(self._pid, os.WNOHANG)
            self._pid = 0


NURSERY = Nursery()
