"""A local server that runs for a test, and what is announced and told of it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import anyio
import pytest

from opscenter_connector.frames import Announced
from opscenter_connector.servers import LocalServer, Servers
from opscenter_connector.settings import ServerSpec

HERE = Path(__file__).parent
WITHIN_S = 20.0


async def ignored(progress: float, total: float | None, message: str | None) -> None:
    pass


class Watched:
    """A local server that runs, and what it has announced."""

    def __init__(self, spec: ServerSpec, notes: Path) -> None:
        self.told: list[Any] = []
        self.announced: list[Announced] = []
        self._news = asyncio.Event()
        self.notes = notes
        self.server = LocalServer(spec, self._announce, self.told.append)
        self.servers = Servers([self.server])

    def _announce(self, announced: Announced) -> None:
        self.announced.append(announced)
        self._news.set()

    async def until(self, fits: Callable[[Announced], bool]) -> Announced:
        with anyio.fail_after(WITHIN_S):
            while not (fitting := [one for one in self.announced if fits(one)]):
                self._news.clear()
                await self._news.wait()
        return fitting[-1]

    async def call(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        params = {"name": name, "arguments": arguments}
        return await self.server.call(params, ignored, start_within_s=WITHIN_S)

    async def noted(self, line: str) -> None:
        """Wait until the server has written that down."""
        with anyio.fail_after(WITHIN_S):
            while line not in (  # noqa: ASYNC110 - another process's file has no event
                self.notes.read_text() if self.notes.exists() else ""
            ).split("\n"):
                await asyncio.sleep(0.02)


Start = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    kept: list[Servers] = []
    tasks: list[asyncio.Task[None]] = []

    async def started(*argv: str, **spec: Any) -> Watched:
        notes = tmp_path / "notes"
        if argv:
            spec |= {"command": sys.executable, "args": argv, "cwd": HERE.parent}
        watched = Watched(ServerSpec(name="echo", env={"ECHO_NOTES": str(notes)}, **spec), notes)
        kept.append(watched.servers)
        tasks.append(asyncio.create_task(watched.servers.run()))
        return watched

    yield started
    for servers in kept:
        servers.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), WITHIN_S)


ECHO = ("-m", "tests.echo_server")
LEGACY = ("-m", "tests.legacy_server")


@contextmanager
def over_http(notes: Path, port: int = 0) -> Iterator[tuple[str, int, "Popen[bytes]"]]:
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    process = Popen(
        [sys.executable, *ECHO, "--http", str(port)],
        cwd=HERE.parent,
        env={"ECHO_NOTES": str(notes), "PATH": ""},
        stderr=-3,
    )
    try:
        yield f"http://127.0.0.1:{port}/mcp", port, process
    finally:
        process.kill()
        process.wait()
