"""A scripted upstream in Anthropic's format, so cheap that only what is before it is measured."""

import argparse
import asyncio
import json
import re
from collections.abc import Iterator

import uvloop

BACKLOG = 4096  # a thousand held streams connect within seconds
STREAM = re.compile(rb'"stream":\s*true')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
PACE = re.compile(
    rb"bench-(\d+)x(\d+)ms"
)  # bench-20x5ms: twenty text deltas, five milliseconds apart

USAGE = {"input_tokens": 25, "output_tokens": 1}
MESSAGE: dict[str, object] = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": "bench",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}


def _plain() -> bytes:
    said = {
        "content": [{"type": "text", "text": "The answer of the bench upstream. " * 4}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 25, "output_tokens": 30},
    }
    body = json.dumps(MESSAGE | said).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )


def _event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields})
    event = f"event: {kind}\ndata: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


PLAIN = _plain()
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
FIRST = HEAD + _event("message_start", message=MESSAGE)
OPEN = _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = _event(
    "content_block_delta", index=0, delta={"type": "text_delta", "text": " a few words more"}
)
CLOSE = _event("content_block_stop", index=0)
TOTAL = _event(
    "message_delta",
    delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage={"output_tokens": 80},
)
STOP = _event("message_stop") + b"0\r\n\r\n"


def _events(deltas: int) -> Iterator[bytes]:
    yield FIRST
    yield OPEN
    for _ in range(deltas):
        yield DELTA
    yield CLOSE
    yield TOTAL
    yield STOP


class Upstream(asyncio.Protocol):
    """One connection: whole requests in, the scripted answer out, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._needed = 0  # bytes of the request under way, once its head is known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP gives no other

    def connection_lost(self, exc: Exception | None) -> None:
        self._needed = -1  # a stream under way stops at its next event

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._needed:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = LENGTH.search(self._buffer, 0, head)
            self._needed = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._needed:
            request, self._buffer = self._buffer[: self._needed], self._buffer[self._needed :]
            self._needed = 0
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if not STREAM.search(request):
            self._transport.write(PLAIN)
            return
        pace = PACE.search(request)
        deltas, pace_ms = (int(pace[1]), int(pace[2])) if pace else (20, 0)
        self._play(_events(deltas), pace_ms / 1000)

    def _play(self, events: Iterator[bytes], pace_s: float) -> None:
        """One event, one write; the next in a later turn of the loop, so nothing merges them."""
        event = next(events, None)
        if event is None or self._needed < 0:
            return
        self._transport.write(event)
        self._loop.call_later(pace_s, self._play, events, pace_s)


async def serve(port: int) -> None:
    """Answer on 127.0.0.1 until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
