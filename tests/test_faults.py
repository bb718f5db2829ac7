"""The fault proxy does what it says; else the tests behind it would prove nothing."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults import FaultProxy, between

SENT = b"0123456789" * 10


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what comes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                here, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=reply, args=[here], daemon=True).start()

    def reply(here: socket.socket) -> None:
        with here:
            try:
                while data := here.recv(4096):
                    here.sendall(data)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


@pytest.fixture
def proxy(echo: str) -> Iterator[FaultProxy]:
    with between(echo) as proxy:
        yield proxy


def dial(proxy: FaultProxy) -> socket.socket:
    host, port = proxy.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def received(line: socket.socket, most: int = len(SENT)) -> bytes:
    got = b""
    while len(got) < most and (data := line.recv(4096)):
        got += data
    return got


def test_it_passes_everything_on(proxy: FaultProxy) -> None:
    with dial(proxy) as line:
        line.sendall(SENT)
        assert received(line) == SENT
        line.shutdown(socket.SHUT_WR)
        assert line.recv(10) == b""  # the end goes through as well
    assert (proxy.connections, proxy.up.passed, proxy.down.passed) == (1, 100, 100)


@pytest.mark.parametrize("at", [1, 37, 100])
def test_it_cuts_after_so_many_bytes(proxy: FaultProxy, at: int) -> None:
    proxy.down.ends_at = at
    with dial(proxy) as line:
        line.sendall(SENT)
        assert received(line, 1000) == SENT[:at]


def test_it_resets(proxy: FaultProxy) -> None:
    proxy.down.ends_at, proxy.down.by_reset = 10, True
    with dial(proxy) as line, pytest.raises(ConnectionResetError):
        line.sendall(SENT)
        received(line, 1000)
        line.recv(1)


def test_it_slices(proxy: FaultProxy) -> None:
    proxy.down.slice_bytes, proxy.down.delay_s = 10, 0.02
    with dial(proxy) as line:
        line.sendall(SENT)
        pieces = [line.recv(4096) for _ in range(10)]
    assert b"".join(pieces) == SENT and max(map(len, pieces)) < 100


def test_it_delays(proxy: FaultProxy) -> None:
    proxy.up.delay_s = 0.3
    with dial(proxy) as line:
        begun = time.monotonic()
        line.sendall(SENT)
        assert received(line) == SENT
    assert time.monotonic() - begun >= 0.3


def test_it_throttles(proxy: FaultProxy) -> None:
    proxy.up.bytes_per_s, proxy.up.slice_bytes = 200.0, 10
    with dial(proxy) as line:
        begun = time.monotonic()
        line.sendall(SENT)
        assert received(line) == SENT
    assert time.monotonic() - begun >= 0.4  # the last of ten pieces waits for no one


def test_a_partition_holds_everything_and_loses_nothing(proxy: FaultProxy) -> None:
    with dial(proxy) as line:
        proxy.partition()
        line.sendall(SENT)
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(20)
        proxy.heal()
        assert received(line) == SENT
