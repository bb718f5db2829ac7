"""Traces as an OpenTelemetry collector gets them."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from asgiref.sync import sync_to_async

from mcp.models import ToolCall
from tests import answers, collector, tunnel
from tests import gateway as gateways
from tests.asking import rows
from tests.collector import Collector, attributes
from tests.gateway import Gateway
from tests.machine_work import ask, laptop
from tests.turns import text_turn, tool_turn
from tests.upstream import Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

CANARY = "a-canary-of-0123456789"
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": CANARY}],
}
ERROR = 2  # Status.StatusCode of OTLP


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector.running() as one:
        yield one


@pytest.fixture
def traced(gateway: Gateway, collected: Collector, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that tells of what it does; it ends in the test, and has told all by then."""
    log = tmp_path / "log"
    more = {"OPSCENTER_OTLP_URL": collected.url, "OTEL_RESOURCE_ATTRIBUTES": "team=a"}
    with gateways.running(log, **more) as (url, process):
        yield replace(gateway, url=url, process=process, log=log)
    assert "Traceback" not in log.read_text()


def stop(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(40)


def test_a_request_is_a_span_of_its_own_trace(
    traced: Gateway, upstream: Upstream, collected: Collector
) -> None:
    upstream.script(text_turn("Tick."))
    headers = traced.headers | {"x-claude-code-session-id": "s-1"}
    url = f"{traced.url}/v1/messages"
    answer = httpx.post(url, json=BODY, headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 200
    stop(traced)
    (span,) = collected.spans
    (row,) = rows(1)
    assert collected.services == {"opscenter"}
    assert f"req_{span.trace_id.hex()}" == answer.headers["request-id"]
    assert (span.name, span.parent_span_id) == ("chat claude-opus-5-5", b"")
    assert span.end_time_unix_nano - span.start_time_unix_nano == (row.duration_ms or 0) * 1_000_000
    told = attributes(span)
    assert told["gen_ai.usage.input_tokens"] == row.input_tokens
    assert told["gen_ai.usage.output_tokens"] == row.output_tokens
    assert told["gen_ai.conversation.id"] == "s-1"
    assert told["opscenter.cost_usd"] == row.cost_nano / 1e9
    assert CANARY.encode() not in b"".join(collected.raw)
    assert traced.key.encode() not in b"".join(collected.raw)


def test_a_request_that_failed_says_how(
    traced: Gateway, upstream: Upstream, collected: Collector
) -> None:
    upstream.script(answers.error(400, "invalid_request_error", "No."))
    url = f"{traced.url}/v1/messages"
    answer = httpx.post(url, json=BODY, headers=traced.headers, timeout=30, trust_env=False)
    assert answer.status_code == 400
    stop(traced)
    (span,) = collected.spans
    assert (span.status.code, span.status.message) == (ERROR, "invalid_request_error")
    assert attributes(span)["http.response.status_code"] == 400


async def test_tools_and_turns_hang_where_they_belong(
    traced: Gateway, upstream: Upstream, collected: Collector
) -> None:
    use = ("files_read", {"path": CANARY})
    upstream.script(tool_turn(use), tool_turn(use), text_turn("Bread."))
    async with laptop(traced):
        answer = await ask(traced)
    assert answer.status_code == 200
    await sync_to_async(stop)(traced)
    root, second, third = await sync_to_async(rows)(3)
    calls = [call async for call in ToolCall.objects.order_by("id")]
    parents = {span.span_id: span.parent_span_id for span in collected.spans}
    assert parents == {
        half(root.id): b"",
        half(second.id): half(root.id),
        half(third.id): half(root.id),
        half(calls[0].id): half(root.id),
        half(calls[1].id): half(second.id),
    }
    assert {span.trace_id for span in collected.spans} == {root.id.bytes}
    (of_tool,) = [span for span in collected.spans if span.span_id == half(calls[1].id)]
    assert of_tool.name == "execute_tool read"
    assert attributes(of_tool)["opscenter.server"] == "files"
    assert CANARY.encode() not in b"".join(collected.raw)


def half(row_id: UUID) -> bytes:
    return row_id.bytes[8:]


def test_a_collector_that_is_away_costs_nobody_anything(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(text_turn("Tick."))
    log = tmp_path / "log"
    nowhere = f"http://127.0.0.1:{gateways.free_port()}"
    with gateways.running(log, OPSCENTER_OTLP_URL=nowhere) as (url, process):
        answer = httpx.post(
            f"{url}/v1/messages", json=BODY, headers=gateway.headers, timeout=30, trust_env=False
        )
        assert answer.status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in {0, -signal.SIGTERM}
    told = log.read_text()
    assert "Traceback" not in told
    assert "opentelemetry" in told
