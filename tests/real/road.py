"""The way to the gateways: one port, behind it whichever process takes connections.

A load balancer in small, that can also be what makes sockets fail on the way.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from tests.gateway import free_port

HEAD_BYTES = 65536
CHUNK_BYTES = 65536
START_S = 10


class Road:
    """Runs on a thread of its own. The attributes may be changed at any time."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = [_place(url) for url in targets]
        self.takes_sockets = True  # False: every WebSocket is cut as it is opened
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._next = 0
        self._sockets: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=self._run, name="road", daemon=True)
        self._serving: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._thread.start()
        assert self._is_open.wait(START_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(START_S)

    def cut_sockets(self) -> None:
        """Cut the WebSockets that are open."""
        self._loop.call_soon_threadsafe(self._cut)

    def _run(self) -> None:
        self._serving = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError), closing(self._loop):
            self._loop.run_until_complete(self._serving)

    def _end(self) -> None:
        assert self._serving is not None
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _cut(self) -> None:
        for writer in self._sockets:
            writer.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", self.port, limit=CHUNK_BYTES)
        self._is_open.set()
        async with server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.read(HEAD_BYTES)
            is_socket = b"upgrade: websocket" in head.lower()
            if not head or (is_socket and not self.takes_sockets):
                return
            there = await self._reached()
            if there is None:
                return
            if is_socket:
                self._sockets.add(writer)
            there[1].write(head)
            both = [asyncio.create_task(_pass(reader, there[1]))]
            both.append(asyncio.create_task(_pass(there[0], writer)))
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in both:
                one.cancel()
            there[1].transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # that an end is gone, the other end is told below
        finally:
            self._sockets.discard(writer)
            writer.transport.abort()

    async def _reached(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A process that takes a connection, in turn."""
        self._next += 1
        for number in range(len(self.targets)):
            with suppress(OSError):
                return await asyncio.open_connection(
                    *self.targets[(self._next + number) % len(self.targets)], limit=CHUNK_BYTES
                )
        return None


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


def _place(url: str) -> tuple[str, int]:
    there = urlsplit(url)
    return there.hostname or "", there.port or 80


@contextmanager
def opened(targets: Sequence[str]) -> Iterator[Road]:
    road = Road(targets)
    road.open()
    try:
        yield road
    finally:
        road.close()
