"""A Redis of its own for a test: empty, on a free port, stopped by its own pid."""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.gateway import free_port
from tests.real import peers

REDIS_S = 10  # it starts in a few milliseconds; a loaded machine needs more


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """A running server, on loopback only."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        """As a machine that loses its power: connections are refused from now on."""
        self.process.kill()
        self.process.wait(REDIS_S)

    def freeze(self) -> None:
        """As a machine that hangs: it takes connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it hung."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running(port: int | None = None) -> Iterator[Redis]:
    """Start one with nothing on disk. What a test has killed is not killed again."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="opscenter-redis-") as folder:
        program = peers.programs_of(peers.named("redis-server")) / "redis-server"
        listen = ["--bind", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            [program, *listen, "--save", "", "--appendonly", "no", "--dir", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_it_answers(port)
            yield Redis(port=port, process=process)
        finally:
            process.kill()  # nothing it holds outlives a test
            process.wait(REDIS_S)


def _wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + REDIS_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=REDIS_S) as line:
                line.sendall(b"PING\r\n")
                assert line.recv(7) == b"+PONG\r\n"
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "Redis did not start"
