"""A stream's bad days: silence, a client that leaves, an upstream that dies, nobody reading."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from proxy.wire import sse
from tests import answers
from tests import gateway as gateways
from tests.conftest import ledger_row
from tests.gateway import Gateway
from tests.turns import text_turn, usage
from tests.upstream import Upstream

BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
EVENTS = text_turn(cost=usage(input_tokens=9, output_tokens=8)).events()


def stream_of(client: httpx.Client) -> AbstractContextManager[httpx.Response]:
    return client.stream("POST", "/v1/messages", json=BODY)


def events_of(raw: bytes) -> list[sse.Event]:
    splitter = sse.Splitter()
    events = list(sse.events(splitter.feed(raw)))
    assert splitter.rest == b"", "the stream ends in the middle of an event"
    return events


@pytest.fixture
def impatient(gateway: Gateway, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a gateway that pings after 0.2 s and gives an upstream 1 s of silence."""
    settings = {"OPSCENTER_PING_S": "0.2", "OPSCENTER_UPSTREAM_IDLE_S": "1"}
    log = tmp_path / "gateway.log"
    with (
        gateways.running(log, **settings) as (url, _),
        httpx.Client(base_url=url, headers=gateway.headers, timeout=30, trust_env=False) as client,
    ):
        yield client
    assert "Traceback" not in log.read_text()


def test_it_pings_between_events_while_the_upstream_is_silent(
    impatient: httpx.Client, upstream: Upstream
) -> None:
    raw = b"".join(map(answers.sse, EVENTS))
    middle = raw.index(b"content_block_delta") + 30  # in the middle of an event's data
    upstream.script(answers.stream([raw[:middle], answers.Pause(0.5), raw[middle:]]))
    with stream_of(impatient) as response:
        got = response.read()
    assert got.replace(sse.PING, b"") == raw.replace(sse.PING, b"")
    assert got.count(b"event: ping") >= raw.count(b"event: ping") + 2
    assert all(json.loads(event.data)["type"] == event.name for event in events_of(got))
    row = ledger_row()
    assert row.state == "completed"
    # Three waits with two pings between them are one silence.
    assert row.longest_silence_ms is not None and row.longest_silence_ms >= 450


def test_it_answers_and_pings_when_the_upstream_sends_headers_and_then_nothing(
    impatient: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([b"", answers.Pause(0.9), *EVENTS]))
    with stream_of(impatient) as response:
        assert response.status_code == 200
        names = [event.name for event in events_of(response.read())]
    row = ledger_row()
    assert row.first_byte_ms is not None and row.longest_silence_ms is not None
    assert row.first_byte_ms >= 850 > row.longest_silence_ms  # it thought, and did not stall
    assert names[0] == "ping"
    assert names[-1] == "message_stop"


def test_it_ends_a_stream_whose_upstream_stays_silent_with_an_error(
    impatient: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([*EVENTS[:4], answers.End.HANG]))
    with stream_of(impatient) as response:
        last = events_of(response.read())[-1]
    assert last.name == "error"
    assert json.loads(last.data)["error"]["type"] == "timeout_error"
    assert upstream.requests[0].left()
    row = ledger_row()
    assert (row.state, row.error_type, row.input_tokens) == ("failed", "timeout_error", 9)
    assert row.longest_silence_ms is not None and row.longest_silence_ms >= 950


@pytest.mark.parametrize("after", [1, 200, 480, 560, 700])
def test_it_ends_a_stream_whose_upstream_dies_with_an_error_and_no_half_event(
    client: httpx.Client, upstream: Upstream, after: int
) -> None:
    upstream.script(
        answers.stream([answers.sse(EVENTS[0]), *answers.lost_after(after, EVENTS[1:])])
    )
    with stream_of(client) as response:
        got = events_of(response.read())
    assert got[-1].name == "error"
    error = json.loads(got[-1].data)
    assert (error["type"], error["error"]["type"]) == ("error", "api_error")
    assert "message_stop" not in [event.name for event in got]
    row = ledger_row()
    assert (row.state, row.input_tokens) == ("failed", 9)


def test_it_says_so_when_the_upstream_ends_its_stream_too_early(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream(EVENTS[:4]))
    with stream_of(client) as response:
        assert events_of(response.read())[-1].name == "error"
    assert ledger_row().state == "failed"


def test_it_refuses_a_stream_that_ends_before_its_first_event(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([b""]))
    with stream_of(client) as response:
        assert response.status_code == 502
    assert ledger_row().state == "failed"


def test_it_passes_on_an_error_event_of_the_upstream_and_counts_the_request_as_failed(
    client: httpx.Client, upstream: Upstream
) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    gate = answers.Gate()
    upstream.script(answers.stream([*EVENTS[:4], gate, overloaded]))
    with stream_of(client) as response:
        gate.open()
        assert response.read().endswith(answers.sse(overloaded))
    row = ledger_row()
    assert (row.state, row.error_type) == ("failed", "overloaded_error")


def test_it_stops_the_upstream_at_once_when_the_client_leaves_and_counts_it(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([*EVENTS[:4], answers.End.HANG]))
    with stream_of(client) as response:
        next(response.iter_raw())
    assert upstream.requests[0].left(within_s=5)
    row = ledger_row()
    assert (row.state, row.input_tokens) == ("interrupted", 9)


@pytest.mark.parametrize("streaming", [True, False])
def test_it_stops_the_upstream_when_the_client_leaves_before_the_first_byte(
    client: httpx.Client, upstream: Upstream, streaming: bool
) -> None:
    upstream.script(answers.silent())
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/messages", json=BODY | {"stream": streaming}, timeout=0.5)
    assert upstream.requests[0].left(within_s=5)
    assert ledger_row().state == "interrupted"


def test_it_waits_with_a_client_that_does_not_read(gateway: Gateway, upstream: Upstream) -> None:
    before_mb = gateway.resident_mb
    megabyte = answers.sse({"type": "ping", "padding": "x" * 2**20})
    upstream.script(answers.stream([EVENTS[0], answers.Endless(megabyte)]))
    body = json.dumps(BODY).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nAuthorization: Bearer {gateway.key}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.sendall(head.encode() + body)
        assert idle.recv(10).startswith(b"HTTP/1.1 2")
        [request] = upstream.wait_for(1)
        # What is under way: socket buffers of the kernel, one event here, one at the upstream.
        assert _settled(request) < 48 * 2**20
        assert gateway.resident_mb - before_mb < 100
    assert request.left(within_s=5)
    assert ledger_row().state == "interrupted"


def _settled(request: object) -> int:
    """How many bytes the upstream got rid of, once it gets rid of no more."""
    counts = [-1]

    def found() -> bool:
        counts.append(request.bytes_sent)  # type: ignore[attr-defined]
        return len(counts) > 12 and len(set(counts[-10:])) == 1

    gateways.eventually(found, within_s=20)
    return counts[-1]


def threads_of(gateway: Gateway) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/task").iterdir()))


def test_it_carries_many_streams_at_once_without_a_thread_for_each(
    gateway: Gateway, client: httpx.Client, upstream: Upstream
) -> None:
    gate = answers.Gate()
    upstream.answer_by(lambda _: answers.stream([*EVENTS[:4], gate, *EVENTS[4:]]))
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(
        base_url=gateway.url, headers=gateway.headers, timeout=30, limits=limits, trust_env=False
    ) as many:
        asking = many.build_request("POST", "/v1/messages", json=BODY)
        # The pools of other work are as full as it left them, here as well.
        before, ours = threads_of(gateway), threading.active_count()
        responses = [many.send(asking, stream=True) for _ in range(50)]
        threads = threads_of(gateway)
        gate.open()
        assert all(response.read().endswith(answers.sse(EVENTS[-1])) for response in responses)
    assert threads - before < 10, f"{threads - before} threads more for 50 streams"
    assert threading.active_count() - ours < 10  # the upstream has none for each stream either


@pytest.mark.parametrize("end", [[], [answers.End.CUT]])
def test_it_adds_the_last_event_to_an_answer_that_is_whole(
    client: httpx.Client, upstream: Upstream, end: list[answers.Step]
) -> None:
    upstream.script(answers.stream([*EVENTS[:-1], *end]))
    with stream_of(client) as response:
        names = [event.name for event in events_of(response.read())]
    assert names == [event["type"] for event in EVENTS]
    assert ledger_row().state == "completed"
