"""POST /v1/messages in front of an Anthropic-format upstream: bytes in, bytes out."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import UsageRecord
from proxy.models import Route
from tests import answers
from tests.conftest import lead_to, ledger_row
from tests.gateway import Gateway
from tests.turns import text_turn, thinking_turn, usage
from tests.upstream import Upstream

# Nothing here is in an order or a spelling that a JSON library would write again.
BODY = (
    b'{"model": "claude-opus-5-5",\n "max_tokens":1e0, "tomorrow": {"model":"inner", "n": 1.50},'
    b'"messages":[{"role":"user","content":"Gr\\u00fc\xc3\x9fe"},'
    b'{"role":"system","content":"be kind"},'
    b'{"role":"user","content":[{"type":"brigade_step","x":1}]}], "stream":%b }'
).replace(b"1e0", b"1024")
WHOLE, STREAM = BODY % b"false", BODY % b"true"
JSON = {"content-type": "application/json"}


def post(
    client: httpx.Client, body: bytes = WHOLE, path: str = "/v1/messages", **headers: str
) -> httpx.Response:
    return client.post(
        path, content=body, headers=JSON | {k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_it_passes_body_query_and_headers_on_unchanged(
    client: httpx.Client, upstream: Upstream
) -> None:
    sent = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "of-tomorrow-2027-01-01,context-1m-2025-08-07",
        "x-claude-code-session-id": "0b5f",
        "x-claude-code-prompt-id": "7c",
        "user-agent": "claude-cli/2.1.330",
    }
    response = client.post("/v1/messages?beta=true&x=%2F", content=WHOLE, headers=JSON | sent)
    assert response.status_code == 200
    [request] = upstream.requests
    assert request.body == WHOLE
    assert (request.path, request.query) == ("/v1/messages", "beta=true&x=%2F")
    assert {name: request.headers[name] for name in sent} == sent


def test_it_keeps_the_callers_key_to_itself(
    client: httpx.Client, upstream: Upstream, gateway: Gateway
) -> None:
    post(client, x_api_key=gateway.key, cookie="a=b", x_forwarded_for="1.2.3.4")
    [request] = upstream.requests
    assert gateway.key not in str(request.headers)
    assert not {"cookie", "x-forwarded-for", "authorization"} & {
        name.lower() for name in request.headers
    }


def test_it_gives_back_the_bytes_of_a_whole_answer(
    client: httpx.Client, upstream: Upstream
) -> None:
    said = (
        b'{ "id":"msg_1","type":"message","new":[1.50,{}],'
        b'"usage":{"output_tokens":3} ,"stop_reason":"end_turn"}'
    )
    upstream.script(
        answers.whole(
            said, status=200, headers={"content-type": "application/json", "retry-after": "1"}
        )
    )
    response = post(client)
    assert response.content == said
    assert response.headers["request-id"].startswith("req_")
    assert response.headers["retry-after"] == "1"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 1200), max_size=6), crlf=st.booleans())
def test_it_gives_back_the_bytes_of_a_stream_however_it_was_cut(
    client: httpx.Client, upstream: Upstream, cuts: list[int], crlf: bool
) -> None:
    raw = b": a comment\n\n" + b"".join(
        map(answers.sse, thinking_turn("Hm: é", "Hello\u2028").events())
    )
    raw = raw.replace(b"\n", b"\r\n") if crlf else raw
    upstream.script(answers.stream(answers.cut_at([raw], *cuts)))
    response = post(client, STREAM)
    assert response.content == raw
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"


def test_it_streams_each_event_when_it_comes(client: httpx.Client, upstream: Upstream) -> None:
    gate = answers.Gate()
    events = text_turn().events()
    upstream.script(answers.stream([*events[:3], gate, *events[3:]]))
    with client.stream("POST", "/v1/messages", content=STREAM, headers=JSON) as response:
        chunks = response.iter_raw()
        seen = b""
        while b"content_block_start" not in seen:
            seen += next(chunks)
        assert b"message_stop" not in seen
        gate.open()
        assert b"message_stop" in seen + b"".join(chunks)


def test_it_splices_only_the_mapped_model_and_shows_the_requested_one(
    client: httpx.Client, upstream: Upstream
) -> None:
    Route.objects.all().delete()
    lead_to(upstream.url, pattern="claude-opus-*", target_model='qwen "3"')
    assert post(client).json()["model"] == "claude-opus-5-5"
    streamed = post(client, STREAM).content
    assert upstream.requests[0].body == WHOLE.replace(b'"claude-opus-5-5"', b'"qwen \\"3\\""')
    assert upstream.requests[1].body == STREAM.replace(b'"claude-opus-5-5"', b'"qwen \\"3\\""')
    assert b"qwen" not in streamed
    assert streamed.count(b'"claude-opus-5-5"') == 1
    rows = UsageRecord.objects.order_by("admitted_at")
    assert {(row.requested_model, row.target_model) for row in rows} == {
        ("claude-opus-5-5", 'qwen "3"')
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/v1/v1/messages",
        "/v1/messages/",
        "/v1/messages?beta=true",
        "/v1/v1/messages?a=b",
    ],
)
def test_it_answers_under_every_path_that_people_configure(client: httpx.Client, path: str) -> None:
    response = post(client, path=path)
    assert response.status_code == 200
    assert response.json()["content"][0]["text"] == "Hello from the upstream."


@pytest.mark.parametrize("path", ["/v1/messages/stream", "/v1/v1/messages/stream"])
def test_it_streams_by_path_whatever_the_body_says(
    client: httpx.Client, upstream: Upstream, path: str
) -> None:
    assert b"event: message_stop" in post(client, path=path).content
    assert json.loads(upstream.requests[0].body)["stream"] is True
    assert upstream.requests[0].path == "/v1/messages"


def test_it_never_looks_at_accept(client: httpx.Client) -> None:
    assert b"message_stop" in post(client, STREAM, accept="application/json").content
    assert post(client, WHOLE, accept="text/event-stream").json()["type"] == "message"
    assert post(client, WHOLE, accept="application/pdf").status_code == 200


def test_it_says_404_in_the_apis_words_for_a_model_without_a_route(client: httpx.Client) -> None:
    Route.objects.all().delete()
    response = post(client)
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")
    assert "claude-opus-5-5" in response.json()["error"]["message"]


def test_it_writes_one_row_with_what_the_answer_reported(
    client: httpx.Client, upstream: Upstream
) -> None:
    cost = usage(input_tokens=11, output_tokens=22, cache_read=33, cache_creation=44)
    upstream.script(text_turn(cost=cost))
    response = post(
        client,
        STREAM,
        x_claude_code_session_id="s-1",
        x_claude_code_agent_id="a-1",
        x_claude_code_parent_agent_id="p-1",
    )
    row = ledger_row()
    assert f"req_{row.id.hex}" == response.headers["request-id"]
    assert (row.state, row.status, row.stop_reason, row.streamed) == (
        "completed",
        200,
        "end_turn",
        True,
    )
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (11, 22, 33)
    assert (row.cache_write_5m_tokens, row.cache_write_1h_tokens) == (44, 0)
    assert row.usage == cost
    assert (row.session_id, row.agent_id, row.parent_agent_id) == ("s-1", "a-1", "p-1")
    assert (row.requested_model, row.served_model, row.upstream) == ("claude-opus-5-5",) * 2 + (
        "scripted",
    )
    assert row.upstream_request_id.startswith("req_")
    assert row.first_byte_ms is not None
    assert row.duration_ms is not None
    assert row.first_byte_ms <= row.duration_ms
    assert row.longest_silence_ms is not None
    assert row.longest_silence_ms <= row.duration_ms
    assert row.request_bytes == len(upstream.requests[0].body)
    assert row.answer_bytes == len(response.content)
    assert row.kept_headers is not None
    assert row.kept_headers["anthropic-version"] == "2023-06-01"
    assert row.kept_headers.keys() <= {"anthropic-version", "anthropic-beta", "user-agent", "x-app"}


def test_it_knows_the_size_of_a_whole_answer_and_keeps_no_other_header(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(text_turn())
    response = post(
        client, user_agent="claude-cli/2.1", x_private="hunter2", anthropic_beta="b" * 999
    )
    row = ledger_row()
    assert (row.answer_bytes, row.longest_silence_ms) == (len(response.content), None)
    assert row.kept_headers is not None
    assert row.kept_headers["user-agent"] == "claude-cli/2.1"
    assert row.kept_headers["anthropic-beta"] == "b" * 300
    assert "hunter2" not in str(row.kept_headers)


def test_it_has_the_row_before_the_upstream_is_asked(
    client: httpx.Client, upstream: Upstream
) -> None:
    gate = answers.Gate()
    upstream.script(answers.Answer(steps=(gate, *answers.as_json(text_turn().message()).steps)))
    with ThreadPoolExecutor(1) as aside:
        answered = aside.submit(post, client)
        assert gate.reached.wait(10)
        assert [row.state for row in UsageRecord.objects.all()] == ["admitted"]
        gate.open()
        answered.result(10)


def test_it_counts_tokens_at_the_upstream_and_writes_no_row(
    client: httpx.Client, upstream: Upstream
) -> None:
    body = b'{"model":"claude-opus-5-5","messages":[{"role":"user","content":"hi"}]}'
    for path in ("/v1/messages/count_tokens?beta=true", "/v1/v1/messages/count_tokens"):
        assert post(client, body, path).json() == {"input_tokens": 2095}
    assert {request.path for request in upstream.requests} == {"/v1/messages/count_tokens"}
    assert upstream.requests[0].body == body
    assert not UsageRecord.objects.exists()
