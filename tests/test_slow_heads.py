"""A head that does not end, over a bare socket: it has its time, and then the line is cut."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import answers
from tests import gateway as gateways
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream

ANSWER_S = 30  # more than anything here takes, on a busy machine too
HEAD_S = "0.5"
DRIPS = 200
HALF = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n"
BODY = b'{"model":"m","max_tokens":1,"messages":[],"stream":true}'


@pytest.fixture
def impatient(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that gives a head half a second."""
    log = tmp_path / "gateway.log"
    with gateways.running(log, OPSCENTER_HEAD_S=HEAD_S) as (url, process):
        yield Gateway(url=url, key=gateway.key, process=process, log=log)
    assert "Traceback" not in log.read_text()


def said_after(gateway: Gateway, first: bytes, drip: bytes = b"") -> bytes:
    """All that the gateway says until it closes, where this is sent, and this again and again."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=ANSWER_S) as line:
        line.sendall(first)
        line.settimeout(0.1)
        for _ in range(DRIPS if drip else 0):
            with suppress(TimeoutError):
                if line.recv(1, socket.MSG_PEEK) is not None:
                    break
            line.sendall(drip)
        line.settimeout(ANSWER_S)
        said = b""
        while chunk := line.recv(65536):
            said += chunk
    return said


@pytest.mark.parametrize("drip", [b"", b"X-a: b\r\n"])
def test_it_ends_the_connection(impatient: Gateway, drip: bytes) -> None:
    assert said_after(impatient, HALF, drip).startswith(b"HTTP/1.1 408 ")


def test_it_ends_the_connection_of_who_says_nothing(impatient: Gateway) -> None:
    assert said_after(impatient, b"") == b""


def test_it_ends_it_after_a_request_that_was_answered(impatient: Gateway) -> None:
    said = said_after(impatient, HALF + b"\r\n" + HALF)
    assert said.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in said


def test_it_ends_a_connection_that_was_kept(impatient: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=ANSWER_S) as line:
        line.sendall(HALF + b"\r\n")
        said = line.recv(65536)
        while b"alive" not in said:
            said += line.recv(65536)
        line.sendall(HALF)
        assert line.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_it_ends_no_answer_before_it(impatient: Gateway, upstream: Upstream) -> None:
    """Half a head behind a request whose stream goes on for longer than a head has."""
    events = text_turn().events()
    pauses = [answers.Pause(0.3)] * 5
    upstream.script(answers.stream([*events[:4], *pauses, *events[4:]]))
    head = [
        "POST /v1/messages HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {impatient.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
    ]
    said = said_after(impatient, "\r\n".join(head).encode() + b"\r\n\r\n" + BODY + HALF)
    assert b"event: message_stop" in said
    assert b"HTTP/1.1 408 " in said[said.index(b"event: message_stop") :]
