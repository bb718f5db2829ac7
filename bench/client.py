"""A client that costs little: one connection, one request at a time, HTTP/1.1 read by hand."""

import asyncio
import re
from dataclasses import dataclass
from time import perf_counter

LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"  # the scripted events end in \n, so no event can look like this
STARTED = b"message_start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, and when, in seconds since the request was written."""

    status: int
    body: bytes
    first_s: float  # until the first event of a stream; for a plain answer the whole
    total_s: float


class Client(asyncio.Protocol):
    """One keep-alive connection. The caller bounds the wait."""

    def __init__(self) -> None:
        self.events = 0  # of streams, counted as they arrive
        self._buffer = bytearray()
        self._asked_at = self._first_at = 0.0
        self._head_end = 0
        self._length = -1  # unknown: chunked
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP gives no other

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(
                exc or ConnectionResetError("closed before the answer's end")
            )

    async def ask(self, request: bytes) -> Answer:
        if self.is_gone:
            raise ConnectionResetError("the server closed the connection")
        self._buffer.clear()
        self._head_end, self._length, self._first_at = 0, -1, 0.0
        self._answer = asyncio.get_running_loop().create_future()
        self._asked_at = perf_counter()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            return  # nobody asked; the next request will fail and say so
        self._buffer += data
        self.events += data.count(b"event: ")
        if not self._head_end and not self._read_head():
            return
        if not self._first_at and STARTED in self._buffer:
            self._first_at = perf_counter()
        if self._length < 0:
            complete = self._buffer.endswith(LAST_CHUNK)
        else:
            complete = len(self._buffer) - self._head_end >= self._length
        if complete:
            self._finish(self._answer)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(self._buffer, 0, end)
        self._head_end = end + 4
        self._length = int(length[1]) if length else -1
        return True

    def _finish(self, answer: asyncio.Future[Answer]) -> None:
        now = perf_counter()
        answer.set_result(
            Answer(
                status=int(self._buffer[9:12]),
                body=bytes(self._buffer[self._head_end :]),
                first_s=(self._first_at or now) - self._asked_at,
                total_s=now - self._asked_at,
            )
        )

    @property
    def is_gone(self) -> bool:
        """Whether either side has closed it."""
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.abort()


async def connect(port: int) -> Client:
    """A new connection to a server on this machine."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Client, "127.0.0.1", port))[1]


def request(body: bytes, *, port: int, key: str) -> bytes:
    """The bytes of a POST /v1/messages, as the SDKs send it."""
    return (
        b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nx-api-key: %s\r\n"
        b"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
        b"user-agent: opscenter-bench\r\naccept: application/json\r\ncontent-length: %d\r\n\r\n%s"
    ) % (port, key.encode(), len(body), body)
