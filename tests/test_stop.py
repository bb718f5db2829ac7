"""A stop: what a client hears that is not done, and what the ledger says of it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from billing.models import UsageRecord
from proxy.wire import sse
from tests import answers
from tests import gateway as gateways
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream

BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}


@pytest.fixture
def stopping(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of its own that gives what is under way half a second at a stop."""
    log = tmp_path / "gateway.log"
    with gateways.running(log, OPSCENTER_DRAIN_S="1") as (url, process):
        yield Gateway(url=url, key=gateway.key, process=process, log=log)
    assert "Traceback" not in log.read_text()


def test_it_tells_a_stream_that_it_stops_and_settles_it(
    stopping: Gateway, upstream: Upstream
) -> None:
    events = text_turn().events()
    upstream.script(answers.stream([*events[:4], answers.End.HANG]))
    with (
        httpx.Client(headers=stopping.headers, timeout=30, trust_env=False) as client,
        client.stream("POST", f"{stopping.url}/v1/messages", json=BODY) as response,
    ):
        chunks = response.iter_raw()
        got = next(chunks)
        stopping.process.send_signal(signal.SIGTERM)
        got += b"".join(chunks)
    last = list(sse.events(got))[-1]
    assert (last.name, json.loads(last.data)["error"]["type"]) == ("error", "overloaded_error")
    assert stopping.process.wait(20) in {0, -signal.SIGTERM}
    assert [row.state for row in UsageRecord.objects.all()] == ["interrupted"]


def test_it_lets_what_is_under_way_finish(stopping: Gateway, upstream: Upstream) -> None:
    events = text_turn().events()
    gate = answers.Gate()
    upstream.script(answers.stream([*events[:4], gate, *events[4:]]))
    with (
        httpx.Client(headers=stopping.headers, timeout=30, trust_env=False) as client,
        client.stream("POST", f"{stopping.url}/v1/messages", json=BODY) as response,
    ):
        chunks = response.iter_raw()
        got = next(chunks)
        stopping.process.send_signal(signal.SIGTERM)
        gate.open()
        got += b"".join(chunks)
    assert got.endswith(answers.sse(events[-1]))
    assert stopping.process.wait(20) in {0, -signal.SIGTERM}
    assert [row.state for row in UsageRecord.objects.all()] == ["completed"]


def test_it_serves_on_until_load_balancers_have_noticed(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(text_turn())
    log = tmp_path / "gateway.log"
    with gateways.running(log, OPSCENTER_DRAIN_DELAY_S="120") as (url, process):
        with httpx.Client(headers=gateway.headers, timeout=30, trust_env=False) as client:
            assert client.get(f"{url}/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            gateways.eventually(lambda: client.get(f"{url}/readyz").status_code == 503)
            answer = client.post(f"{url}/v1/messages", json=BODY)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        process.send_signal(signal.SIGINT)  # who cannot wait
        process.wait(20)
    assert "Traceback" not in log.read_text()
