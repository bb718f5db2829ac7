"""The built-in demo through the whole gateway: all can be tried without a model."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing.models import UsageRecord
from proxy.models import Route, Upstream
from proxy.wire import sse
from tests.conftest import ledger_row
from tests.gateway import Gateway, eventually

MODEL = "claude-opus-5-5"
BASH = {"name": "Bash", "description": "Run", "input_schema": {"type": "object"}}
GLOB = {"name": "Glob", "description": "Find", "input_schema": {"type": "object"}}
GREP = {"name": "Grep", "description": "Search", "input_schema": {"type": "object"}}
JSON = {"content-type": "application/json"}

Body = dict[str, Any]


@pytest.fixture
def demo(server: Gateway, key: str) -> Iterator[httpx.Client]:
    """A client of the gateway, where the demo answers for every model."""
    upstream = Upstream.objects.create(name="demo", kind=Upstream.Kind.DEMO)
    Route.objects.create(pattern="*", upstream=upstream)
    headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def body_of(*messages: Any, **fields: Any) -> Body:
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return {"model": MODEL, "max_tokens": 100, "messages": turns, **fields}


def ask(demo: httpx.Client, *messages: Any, **fields: Any) -> Body:
    response = demo.post("/v1/messages", json=body_of(*messages, **fields))
    assert response.status_code == 200, response.text
    answer: Body = response.json()
    return answer


def stream(demo: httpx.Client, *messages: Any, **fields: Any) -> list[Body]:
    """The events of the answer; each under the name that its data says."""
    response = demo.post("/v1/messages", json=body_of(*messages, stream=True, **fields))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    splitter = sse.Splitter()
    events = list(sse.events(splitter.feed(response.content)))
    assert splitter.rest == b""
    decoded: list[Body] = [json.loads(event.data) for event in events]
    assert [event.name for event in events] == [data["type"] for data in decoded]
    return decoded


def text_of(answer: Body) -> str:
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


def test_it_answers_in_one_piece(demo: httpx.Client) -> None:
    answer = ask(demo, "good morning")
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", MODEL)
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert answer["id"].startswith("msg_")
    assert "good morning" in text_of(answer)
    assert answer["usage"]["input_tokens"] > 0
    assert ask(demo, "good morning", stream=False)["content"] == answer["content"]


def test_it_streams_the_same_answer(demo: httpx.Client) -> None:
    events = stream(demo, "good morning")
    names = [event["type"] for event in events if event["type"] != "ping"]
    deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[0]["message"]["model"] == MODEL
    assert len(deltas) > 1
    assert "".join(deltas) == text_of(ask(demo, "good morning"))


def test_it_shows_the_name_that_was_asked_for_behind_a_mapped_route(demo: httpx.Client) -> None:
    Route.objects.update(target_model="another")
    assert ask(demo, "hello")["model"] == MODEL
    assert stream(demo, "hello")[0]["message"]["model"] == MODEL


@pytest.mark.parametrize("streaming", [True, False])
def test_it_closes_its_row_with_the_tokens_that_the_client_was_told(
    demo: httpx.Client, streaming: bool
) -> None:
    if streaming:
        events = stream(demo, "count me")
        told = events[0]["message"]["usage"] | events[-2]["usage"]
    else:
        told = ask(demo, "count me")["usage"]
    row = ledger_row(state="completed")
    assert (row.input_tokens, row.output_tokens) == (told["input_tokens"], told["output_tokens"])
    assert min(row.input_tokens, row.output_tokens) > 0
    assert (row.status, row.stop_reason, row.streamed) == (200, "end_turn", streaming)
    assert (row.requested_model, row.upstream) == (MODEL, "demo")


def test_it_goes_through_a_tool_loop(demo: httpx.Client) -> None:
    asked: list[Any] = [{"role": "user", "content": "demo:tools"}]
    first = ask(demo, *asked, tools=[BASH, GLOB, GREP])
    calls = [block for block in first["content"] if block["type"] == "tool_use"]
    assert first["stop_reason"] == "tool_use"
    assert [call["name"] for call in calls] == ["Bash", "Glob"]
    assert len({call["id"] for call in calls}) == 2
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"{call['name']} was here"}
        for call in calls
    ]
    asked += [
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": results},
    ]
    last = ask(demo, *asked, tools=[BASH, GLOB, GREP])
    assert last["stop_reason"] == "end_turn"
    assert "2 tool results came back" in text_of(last)
    assert all(f"{name} was here" in text_of(last) for name in ("Bash", "Glob"))


def test_it_streams_the_input_of_a_tool_as_deltas(demo: httpx.Client) -> None:
    events = stream(demo, "demo:tools", tools=[BASH])
    opened = [e for e in events if e["type"] == "content_block_start"][-1]
    parts = [
        event["delta"]["partial_json"]
        for event in events
        if event["type"] == "content_block_delta" and event["index"] == opened["index"]
    ]
    assert opened["content_block"]["input"] == {}  # Claude Code takes what stands here for nothing
    assert json.loads("".join(parts))["command"].startswith("echo ")
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "retry_after"),
    [
        (429, "rate_limit_error", "2"),
        (400, "invalid_request_error", None),
        (402, "billing_error", None),
        (500, "api_error", None),
        (529, "overloaded_error", None),
    ],
)
def test_it_answers_with_the_status_that_it_is_asked_for(
    demo: httpx.Client, streaming: bool, status: int, kind: str, retry_after: str | None
) -> None:
    response = demo.post("/v1/messages", json=body_of(f"demo:error {status}", stream=streaming))
    assert response.status_code == status
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", kind)
    assert response.headers.get("retry-after") == retry_after
    row = ledger_row(state="failed")
    assert (row.status, row.error_type) == (status, kind)


def test_it_breaks_a_stream_with_an_error_event(demo: httpx.Client) -> None:
    events = stream(demo, "demo:break")
    assert (events[-1]["type"], events[-1]["error"]["type"]) == ("error", "api_error")
    assert "break off" in events[-1]["error"]["message"]
    assert "message_stop" not in [event["type"] for event in events]
    row = ledger_row(state="failed")
    assert (row.error_type, row.status) == ("api_error", 200)


def test_it_breaks_an_answer_in_one_piece_with_its_own_words(demo: httpx.Client) -> None:
    response = demo.post("/v1/messages", json=body_of("demo:break"))
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (500, "api_error")
    assert "break off" in error["message"]
    assert "could not finish" not in error["message"]
    assert ledger_row(state="failed").error_type == "api_error"


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/v1/messages/count_tokens"])
def test_it_counts_the_tokens_that_it_would_charge(demo: httpx.Client, path: str) -> None:
    asked = body_of("a question of some length", system="be kind", tools=[BASH])
    counting = {name: value for name, value in asked.items() if name != "max_tokens"}
    response = demo.post(path, json=counting)
    assert (response.status_code, set(response.json())) == (200, {"input_tokens"})
    assert not UsageRecord.objects.exists()
    charged = demo.post("/v1/messages", json=asked).json()["usage"]["input_tokens"]
    assert response.json()["input_tokens"] == charged


SAFEGUARDS = [{"type": "dangerous_tool_use", "classifier_context": {"v": 1, "rules": []}}]
VERDICT = [
    {"type": "dangerous_tool_use", "status": {"type": "unavailable", "reason": "disabled"}},
]


def test_it_tells_auto_mode_that_it_judges_nothing(demo: httpx.Client) -> None:
    asked = {"tools": [BASH], "safeguards": SAFEGUARDS}
    assert ask(demo, "demo:tools", **asked)["safeguard_results"] == VERDICT
    delta = stream(demo, "demo:tools", **asked)[-2]
    assert (delta["type"], delta["delta"]["safeguard_results"]) == ("message_delta", VERDICT)


def test_it_says_nothing_of_safeguards_unasked(demo: httpx.Client) -> None:
    assert "safeguard_results" not in ask(demo, "hello")
    assert "safeguard_results" not in stream(demo, "hello")[-2]["delta"]


ROOM = b'{"model":"claude-opus-5-5","max_tokens":9,"stream":%b,"messages":[%b]}'


@pytest.mark.parametrize("streaming", [b"true", b"false"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "message", [b"9" * 5000, b"-" + b"9" * 5000, b'{"role":"user","n":%b}' % (b"1" * 5000)]
)
def test_it_names_the_field_with_a_number_that_nobody_can_hold(
    demo: httpx.Client, streaming: bytes, path: str, message: bytes
) -> None:
    response = demo.post(path, content=ROOM % (streaming, message), headers=JSON)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("messages: ")
    eventually(lambda: not UsageRecord.objects.filter(state="admitted").exists())


def test_it_takes_what_is_nested_as_deeply_as_a_schema_may_be(demo: httpx.Client) -> None:
    schema: Body = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"deeper": schema}}
    assert ask(demo, "hello", tools=[BASH | {"input_schema": schema}])["stop_reason"] == "end_turn"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_it_never_fails_over_how_deeply_something_is_nested(demo: httpx.Client, path: str) -> None:
    depths = [*range(300, 860, 40), *range(860, 1010, 2), 5000]
    bodies = [ROOM % (b"false", b"[" * depth + b"]" * depth) for depth in depths]
    answers = [demo.post(path, content=body, headers=JSON) for body in bodies]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 400
    assert {answer.status_code for answer in answers} == {200, 400}
    refusals = {a.json()["error"]["message"] for a in answers if a.status_code == 400}
    assert all("nested too deeply" in text for text in refusals)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_it_does_not_read_what_would_keep_everybody_waiting(demo: httpx.Client, path: str) -> None:
    response = demo.post(path, json=body_of({"role": "user", "content": "x" * (5 * 2**20)}))
    assert (response.status_code, response.json()["error"]["type"]) == (413, "request_too_large")
