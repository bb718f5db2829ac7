"""The gateway as people run it: a process of its own, on the database of the test run."""

import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from django.db import connection

from tests import environment
from tests.environment import ROOT

T = TypeVar("T")

START_S = 30  # a loaded machine needs a few seconds to import Django
STOP_S = 35  # a little more than the server allows its streams

_held: list[socket.socket] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway, and a key that may use it."""

    url: str
    key: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def resident_mb(self) -> int:
        """The process's memory, in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() // 2**20

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends: the key and the API version."""
        return {"authorization": f"Bearer {self.key}", "anthropic-version": "2023-06-01"}


@contextmanager
def running(
    log: Path, *, by: Sequence[str] = (), **settings: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a gateway with the `settings`, give its address, stop it by its own pid.

    `by` is a command that becomes the one it is given.
    """
    port = int(settings.get("OPSCENTER_PORT", 0)) or free_port()
    settings = {
        "OPSCENTER_DATABASE_URL": database_url(),
        "OPSCENTER_PORT": str(port),
        "OPSCENTER_MEMORY_TTL_S": "0.001",  # tests change keys and routes between two requests
        "OPSCENTER_LINGER_S": "1",  # tests see what is stopped once a client has left
        "OPSCENTER_MCP_HTTP": "false",  # tests of such calls make them in their own process
    } | settings
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*by, sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=environment.child(**settings),
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def free_port() -> int:
    """A port on which nobody listens, and which is given to no other process as long as we live.

    Who asks for any port, in this run or beside it, is not given one that a socket holds; who asks
    for this one may have it, as long as the socket that holds it does not listen.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port


def database_url() -> str:
    """The database of this test run, for another process."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    user = f"{found['USER']}:{found['PASSWORD']}" if found["PASSWORD"] else found["USER"]
    return f"postgres://{user}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    transport = httpx.HTTPTransport(retries=0)
    with httpx.Client(transport=transport, timeout=START_S, trust_env=False) as client:
        deadline = START_S * 20
        for _ in range(deadline):
            if process.poll() is not None:
                break
            try:
                client.head(f"http://127.0.0.1:{port}/")
            except httpx.ConnectError:
                pause()
                continue
            return
    process.kill()
    process.wait()
    raise AssertionError(f"the gateway did not start:\n{log.read_text()[-4000:]}")


def eventually(found: Callable[[], T | None], within_s: float = 10) -> T:
    """What `found` gives as soon as it gives something. The writer needs a moment to commit."""
    for _ in range(int(within_s * 20)):
        value = found()
        if value:
            return value
        pause()
    raise AssertionError(f"it did not happen within {within_s} s")


def pause(seconds: float = 0.05) -> None:
    """That long, on a socket that nobody writes to."""
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(seconds)
        try:
            left.recv(1)
        except TimeoutError:
            return
