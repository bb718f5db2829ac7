"""A client that takes next to nothing of its answer is cut off; one that is slow is not."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opscenter.unread import LEAST_BYTES_PER_S
from tests import answers
from tests import gateway as gateways
from tests.conftest import ledger_row
from tests.gateway import Gateway, eventually, pause
from tests.turns import text_turn
from tests.upstream import Upstream

SEND_S = 1
SLOW_S = 4 * SEND_S
STEP_S = 0.1
MANY_BYTES = 10 * 2**20  # more than the kernel holds for a reader
BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
START = text_turn().events()[0]
MEGABYTE = answers.sse({"type": "ping", "padding": "x" * 2**20})


@pytest.fixture
def impatient(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that waits a second for who does not read."""
    log = tmp_path / "gateway.log"
    with gateways.running(log, OPSCENTER_SEND_S=str(SEND_S)) as (url, process):
        yield Gateway(url=url, key=gateway.key, process=process, log=log)
    assert "Traceback" not in log.read_text()


@contextmanager
def asked(gateway: Gateway, body: dict[str, object], *, more: str = "") -> Iterator[socket.socket]:
    """A connection whose request is sent, with little room for the answer."""
    content = json.dumps(body).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nAuthorization: Bearer {gateway.key}\r\n{more}\r\n"
    )
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(30)
        line.connect(("127.0.0.1", gateway.port))
        line.sendall(head.encode() + content)
        assert line.recv(10).startswith(b"HTTP/1.1 2")
        yield line


def connections(gateway: Gateway) -> int:
    """How many clients it holds."""
    mine = f":{gateway.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(mine) and row[3] == "01" for row in rows)


def test_who_reads_nothing_is_cut_off_and_the_upstream_stopped(
    impatient: Gateway, upstream: Upstream
) -> None:
    upstream.script(answers.stream([START, answers.Endless(MEGABYTE)]))
    with asked(impatient, BODY):
        [request] = upstream.wait_for(1)
        assert request.left(within_s=30)
        assert ledger_row().state == "interrupted"


def test_who_reads_slowly_is_not(impatient: Gateway, upstream: Upstream) -> None:
    """So slowly that the kernel asks for nothing more in all that time."""
    upstream.script(answers.stream([START, answers.Endless(MEGABYTE)]))
    with asked(impatient, BODY) as line:
        [request] = upstream.wait_for(1)
        for _ in range(int(SLOW_S / STEP_S)):
            assert line.recv(20 * LEAST_BYTES_PER_S)
            pause(STEP_S)
        assert not request.hung_up.is_set()
    assert request.left(within_s=30)


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_an_answer_that_is_whole_is_not_kept_for_who_does_not_read_it(
    impatient: Gateway, upstream: Upstream, more: str
) -> None:
    turn = text_turn("x" * MANY_BYTES)
    upstream.script(answers.rendered(turn, model="claude-opus-5-5", streaming=False))
    with asked(impatient, BODY | {"stream": False}, more=more):
        assert ledger_row().state == "completed"
        eventually(lambda: connections(impatient) == 0, within_s=30)
