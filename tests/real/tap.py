"""A wire between a client and a server that keeps a copy of every byte the client sends."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

IDLE_S = 60.0  # a connection that is silent this long belongs to no test
PIECE = 65536


class Tap(ThreadingTCPServer):
    """Forwards connections to the server at `url`."""

    daemon_threads = True
    block_on_close = False  # a client that keeps its connection open must not keep the test

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self.target = (target.hostname or "", target.port or 80)
        self.received: list[bytearray] = []  # one for each connection
        super().__init__(("127.0.0.1", 0), Wire)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def posts(self) -> int:
        """How many times the client posted; prompts here never hold a request line."""
        return sum(sent.count(b"POST /") for sent in self.received)

    def carried(self, body: bytes) -> bool:
        """Whether the client sent exactly these bytes as the body of a request."""
        length = f"content-length: {len(body)}\r\n".encode()
        return any(b"\r\n\r\n" + body in sent and length in sent.lower() for sent in self.received)

    def carried_header(self, name: str, value: str) -> bool:
        """Whether the client sent this header with exactly this value."""
        line = f"\r\n{name}: {value}\r\n".encode().lower()
        return any(line in sent.lower() for sent in self.received)


class Wire(BaseRequestHandler):
    """One connection: two directions, until either side ends."""

    server: Tap

    def handle(self) -> None:
        copy = bytearray()
        self.server.received.append(copy)
        with socket.create_connection(self.server.target, timeout=IDLE_S) as ahead:
            self.request.settimeout(IDLE_S)
            back = threading.Thread(
                target=pump, args=(ahead, self.request, bytearray()), daemon=True
            )
            back.start()
            pump(self.request, ahead, copy)
            back.join(IDLE_S)


def pump(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
    """Carry bytes until the source ends, then tell the sink; a broken side ends both."""
    try:
        while piece := source.recv(PIECE):
            copy += piece  # before it is forwarded: who sees the answer finds the question here
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # reset or timed out: wake the other direction, which waits on the same sockets
        for side in (source, sink):
            with suppress(OSError):  # it is gone already
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def tapped(url: str) -> Iterator[Tap]:
    with Tap(url) as tap:
        thread = threading.Thread(
            target=tap.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield tap
        finally:
            tap.shutdown()
            thread.join(IDLE_S)
