"""A proxy on a real socket that does to a connection what bad networks do, while it runs.

In each direction: delay, stall, throttle, slice, and an end after so many bytes, be it a plain
close or a reset.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

READ_BYTES = 64 * 1024
TICK_S = 0.01  # between two looks whether a stall is over
NO_LINGER = struct.pack("ii", 1, 0)  # a close then is a reset


@dataclass(slots=True)
class Direction:
    """What happens to the bytes that go this way. May be changed at any time."""

    delay_s: float = 0.0  # before each piece
    slice_bytes: int = READ_BYTES  # the largest piece
    bytes_per_s: float = float("inf")
    is_stalled: bool = False  # nothing goes through, and nothing is lost
    ends_at: int | None = None  # after so many bytes of each connection it ends
    by_reset: bool = False
    passed: int = 0  # of all connections


@dataclass(slots=True)
class FaultProxy:
    """Between whoever dials `port` and the server at `target`."""

    target: tuple[str, int]
    up: Direction = field(default_factory=Direction)  # towards the server
    down: Direction = field(default_factory=Direction)
    connections: int = 0
    _port: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def partition(self) -> None:
        """Nothing goes either way; nobody is told."""
        self.up.is_stalled = self.down.is_stalled = True

    def heal(self) -> None:
        """All is well again, for bytes that waited too."""
        self.up, self.down = Direction(), Direction()

    async def serve(self, is_up: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        is_up.set()
        await stop.wait()
        server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        ways = (self._pump(reader, far_writer, "up"), self._pump(far_reader, writer, "down"))
        tasks = [asyncio.ensure_future(way) for way in ways]
        with suppress(OSError, asyncio.CancelledError):  # cancelled: the test is over
            await asyncio.gather(*tasks)
        for task in tasks:
            task.cancel()
        for one in both:
            one.close()
        self._open -= both

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str
    ) -> None:
        passed = 0
        while data := await reader.read(READ_BYTES):
            while data:
                way: Direction = getattr(self, name)
                if way.is_stalled:
                    await asyncio.sleep(TICK_S)
                    continue
                room = READ_BYTES if way.ends_at is None else way.ends_at - passed
                piece, data = _cut(data, min(way.slice_bytes, max(room, 0)))
                await asyncio.sleep(way.delay_s)
                writer.write(piece)
                await writer.drain()
                passed += len(piece)
                way.passed += len(piece)
                if way.ends_at is not None and passed >= way.ends_at:
                    raise _ended(writer, way.by_reset)
                await asyncio.sleep(len(piece) / way.bytes_per_s)
        if writer.can_write_eof():
            writer.write_eof()


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


def _ended(writer: asyncio.StreamWriter, by_reset: bool) -> ConnectionError:
    if by_reset:
        own: socket.socket = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        writer.transport.abort()
    return ConnectionError("the line was cut, as the test wanted")


@contextmanager
def between(url: str) -> Iterator[FaultProxy]:
    """A proxy in front of the server at `url`, in a thread of its own."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    proxy = FaultProxy(target=(parts.hostname, parts.port))
    loop, is_up = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[proxy.serve(is_up, stop)])
    thread.start()
    try:
        assert is_up.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()
