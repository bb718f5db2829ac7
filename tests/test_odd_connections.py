"""Upstreams that are strange below the level of HTTP, or no upstreams at all."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from proxy.models import Upstream
from tests import answers
from tests import gateway as gateways
from tests.asking import another_client, ask, error_of, stream
from tests.conftest import ledger_row
from tests.gateway import Gateway
from tests.test_streams import EVENTS
from tests.upstream import Upstream as Scripted

WAIT_S = 10
MOST_READ = 8 * 1024 * 1024  # of an answer without an end: what sockets and loops hold, and no more

Say = Callable[[socket.socket], object]


class Peer:
    """Listens, reads a request's beginning, says what it is told, and counts the bytes."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.ended = threading.Event()  # the client has gone, or all is said
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._server.accept()
            with connection:
                connection.settimeout(WAIT_S)
                connection.recv(65536)
                self._say(connection)
        self.ended.set()

    @contextmanager
    def listening(self) -> Iterator["Peer"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.close()
            self._thread.join(2 * WAIT_S)


@contextmanager
def instead(say: Say) -> Iterator[Peer]:
    """Every model leads to a peer that says this."""
    with Peer(say).listening() as peer:
        Upstream.objects.update(base_url=peer.url)
        yield peer


def endless(start: bytes, chunk: bytes) -> Say:
    def say(connection: socket.socket) -> None:
        connection.sendall(start)
        sent = 0
        while sent < MOST_READ:
            connection.sendall(chunk)
            sent += len(chunk)
        raise AssertionError("an endless answer was read to the end")

    return say


def said(head: str, body: bytes = b"") -> Say:
    return lambda connection: connection.sendall(
        head.replace("\n", "\r\n").encode("latin-1") + body
    )


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-long: ", b"x" * 65536),
        (b"HTTP/1.1 200 ", b"OK" * 32768),
        (b"", b"\0" * 65536),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
    ids=["headers", "one header", "a status line", "no HTTP", "hints", "continue"],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_it_gives_up_an_answer_whose_head_does_not_end(
    client: httpx.Client, start: bytes, chunk: bytes, streaming: bool
) -> None:
    with instead(endless(start, chunk)) as peer:
        assert error_of(ask(client, stream=streaming)) == (502, "api_error")
        assert peer.ended.wait(WAIT_S)
    assert ledger_row().state == "failed"


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\ncontent-type: text/event-stream\n" + "x-a: b\n" * 5000 + "\n",
        "HTTP/1.1 200 OK\ncontent-type: text/event-stream\nx-a: " + "b" * 100_000 + "\n\n",
        "HTTP/1.1 20 OK\n\n",
        "HTTP/1.1 200 OK\ncontent-length: -1\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 5\ntransfer-encoding: chunked\n\n",
        "220 mail.example.com ESMTP\n",
        "\n\n\n",
    ],
    ids=[
        "many headers",
        "a long one",
        "a short status",
        "no length",
        "two lengths",
        "mail",
        "blank",
    ],
)
def test_it_says_502_for_what_is_no_http(client: httpx.Client, head: str) -> None:
    with instead(said(head)):
        assert error_of(ask(client, stream=True)) == (502, "api_error")


@pytest.mark.parametrize(
    "name", ["retry-after", "anthropic-ratelimit-x", "content-type", "request-id"]
)
@pytest.mark.parametrize("odd", ["5\n folded", "5\r folded", "5\x00null", "5\x1b[2J", "5\x7f"])
def test_it_gives_the_place_back_whatever_a_header_says(
    client: httpx.Client, upstream: Scripted, name: str, odd: str
) -> None:
    Upstream.objects.update(concurrency=1)
    kind = "" if name == "content-type" else "content-type: text/event-stream\n"
    events = b"".join(map(answers.sse, EVENTS))
    head = f"HTTP/1.1 200 OK\n{kind}{name}: text/event-stream; {odd}\nconnection: close\n\n"
    with instead(said(head, events)):
        assert ask(client, stream=True).status_code in {200, 502}
    Upstream.objects.update(base_url=upstream.url)
    assert ask(client).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[fe80::1%25lo]",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "\N{FULLWIDTH DIGIT ONE}69.254.169.254",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[::]",
    ],
)
def test_it_goes_to_no_link_local_or_metadata_address_however_it_is_spelled(
    client: httpx.Client, server: Gateway, host: str
) -> None:
    Upstream.objects.update(base_url=f"http://{host}")
    before = len(server.log.read_text())
    response = ask(client)
    assert error_of(response) == (502, "api_error")
    assert "OffLimitsError" in server.log.read_text()[before:]
    assert "169.254" not in response.text


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that never answers a connection: its queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in waiting:
            each.close()


def test_it_waits_no_longer_for_a_connection_than_the_upstream_allows(
    client: httpx.Client, deaf: str
) -> None:
    Upstream.objects.update(base_url=deaf, connect_s=0.3)
    assert error_of(ask(client)) == (504, "timeout_error")
    assert ledger_row().status == 504


def test_it_asks_the_next_upstream_when_one_takes_no_connection(
    chain: Gateway, client: httpx.Client, deaf: str
) -> None:
    Upstream.objects.filter(name="first").update(base_url=deaf, connect_s=0.3)
    assert ask(client).status_code == 200
    assert ledger_row().moved_from == "first"


@pytest.mark.parametrize(
    ("chunk", "starts"),
    [
        (b'event: ping\ndata: {"type":"ping"}\n\n', [EVENTS[0]]),
        (b": still here\n\n", [EVENTS[0]]),
        (b": still here\n\n", []),
        (b": x\n", [EVENTS[0]]),
        (b": x\n", []),
    ],
    ids=["pings", "comments", "only comments", "half an event", "only half an event"],
)
def test_it_ends_a_stream_of_mere_signs_of_life(
    gateway: Gateway,
    upstream: Scripted,
    tmp_path: Path,
    chunk: bytes,
    starts: list[dict[str, object]],
) -> None:
    # More slowly than the socket takes it: the signs of life of an hour in a second.
    steps: list[answers.Step] = [answers.Pause(0.02), chunk] * 500
    upstream.script(answers.stream([*starts, *steps]))
    settings = {"OPSCENTER_UPSTREAM_PINGS_S": "0.5", "OPSCENTER_PING_S": "0.1"}
    with (
        gateways.running(tmp_path / "log", **settings) as (url, _),
        another_client(gateway, url) as client,
        stream(client) as response,
    ):
        got = response.read()
    assert b"timeout_error" in got.splitlines()[-2]
    assert got.count(b"event: error") == 1
    assert b"event: ping" in got or b": still here" in got
    assert upstream.requests[0].left()
