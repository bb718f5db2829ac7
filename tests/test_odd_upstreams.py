"""Upstreams that say strange things: the client gets an answer, and nothing stays open."""

import json

import httpx
import pytest

from proxy.models import Route
from tests import answers
from tests.conftest import lead_to, ledger_row
from tests.test_streams import BODY, EVENTS, events_of, stream_of
from tests.upstream import Upstream

NAMES = [event["type"] for event in EVENTS]


@pytest.mark.parametrize(
    "name", ["anthropic-ratelimit-requests-limit", "request-id", "retry-after"]
)
@pytest.mark.parametrize("streaming", [True, False])
def test_it_survives_a_header_in_no_encoding(
    client: httpx.Client, upstream: Upstream, name: str, streaming: bool
) -> None:
    odd = {name: "caf\udce9"}
    said = answers.stream(EVENTS, headers=odd)
    if not streaming:
        said = answers.as_json({"type": "message", "stop_reason": "end_turn"}, headers=odd)
    upstream.script(said)
    response = client.post("/v1/messages", json=BODY | {"stream": streaming})
    assert response.status_code == 200
    assert ledger_row().state == "completed"


def test_it_takes_a_break_after_the_last_event_for_a_good_end(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([*EVENTS, answers.End.CUT]))
    with stream_of(client) as response:
        assert [event.name for event in events_of(response.read())] == NAMES
    assert ledger_row().state == "completed"


def test_it_does_not_wait_for_an_upstream_that_says_all_and_stays(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream([*EVENTS, answers.End.HANG]))
    with stream_of(client) as response:
        assert [event.name for event in events_of(response.read())] == NAMES
    assert upstream.requests[0].left(within_s=5)
    assert ledger_row().state == "completed"


def test_it_passes_on_what_follows_the_last_event(client: httpx.Client, upstream: Upstream) -> None:
    raw = b"".join(map(answers.sse, EVENTS)) + b"data: [DONE]\n\n"
    upstream.script(answers.stream([raw[:-14], raw[-14:]]))
    with stream_of(client) as response:
        assert response.read() == raw


@pytest.mark.parametrize("status", [204, 302, 600, 999])
def test_it_says_502_for_a_status_that_is_none_of_the_apis(
    client: httpx.Client, upstream: Upstream, status: int
) -> None:
    upstream.script(answers.as_json({"type": "message"}, status=status))
    response = client.post("/v1/messages", json=BODY)
    assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")


def test_it_does_not_hand_a_stream_to_who_asked_for_a_message(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.stream(EVENTS))
    assert client.post("/v1/messages", json=BODY | {"stream": False}).status_code == 502


@pytest.mark.parametrize(
    "start",
    [
        b'event: message_start\ndata: {"type":"message_start",\ndata: "message":{"model":"x"}}\n\n',
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        b'data: {"type":"message_start","message":{"model":"x"}}\n\n',
        b'event: message_start\ndata: {"type":"message_start","message":null}\n\n',
    ],
)
def test_it_renames_what_can_be_renamed_and_breaks_nothing_else(
    client: httpx.Client, upstream: Upstream, start: bytes
) -> None:
    Route.objects.all().delete()
    lead_to(upstream.url, target_model="x")
    upstream.script(answers.stream([start, *EVENTS[1:]]))
    with stream_of(client) as response:
        first = events_of(response.read())[0]
    assert json.loads(first.data)["type"] == "message_start"
    message = json.loads(first.data).get("message")
    assert not message or message["model"] == "claude-opus-5-5"


def test_it_sends_on_only_the_headers_that_concern_the_upstream(
    client: httpx.Client, upstream: Upstream
) -> None:
    sent = {"x-app": "cli", "x-app-token": "t", "user-agent-secret": "s", "cookie": "c=d"}
    client.post("/v1/messages", json=BODY, headers=sent)
    arrived = {name.lower() for name in upstream.requests[0].headers}
    assert "x-app" in arrived
    assert not {"x-app-token", "user-agent-secret", "cookie"} & arrived


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "X" * 5000])
@pytest.mark.parametrize("streaming", [True, False])
def test_it_refuses_a_compressed_answer(
    client: httpx.Client, upstream: Upstream, encoding: str, streaming: bool
) -> None:
    upstream.script(answers.stream(EVENTS, headers={"content-encoding": encoding}))
    response = client.post("/v1/messages", json=BODY | {"stream": streaming})
    assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")
    assert "content-encoding" in response.json()["error"]["message"]
    assert len(response.content) < 500


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_it_follows_no_redirect(
    client: httpx.Client, upstream: Upstream, second: Upstream, status: int
) -> None:
    location = {"location": f"{second.url}/v1/messages"}
    upstream.script(answers.as_json({}, status=status, headers=location))
    assert client.post("/v1/messages", json=BODY).status_code == 502
    assert second.requests == []


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        ({"type": "overloaded_error", "message": "busy"}, 529, "overloaded_error"),
        ({"type": "authentication_error", "message": "who?"}, 502, "authentication_error"),
        ({"type": "invalid_request_error", "message": "no"}, 400, "invalid_request_error"),
        ({"type": "a_new_error", "message": "new"}, 500, "a_new_error"),
        ({"message": "of no type"}, 500, "api_error"),
        (None, 500, "api_error"),
    ],
)
def test_it_gives_an_error_inside_a_good_answer_its_status(
    client: httpx.Client, upstream: Upstream, said: object, status: int, kind: str
) -> None:
    upstream.script(answers.as_json({"type": "error", "error": said}))
    response = client.post("/v1/messages", json=BODY | {"stream": False})
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    row = ledger_row()
    assert (row.state, row.status, row.error_type) == ("failed", status, kind)


def test_it_shows_no_page_of_the_upstreams_for_an_answer(
    client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.as_html("<h1>Sign in</h1>", status=200))
    response = client.post("/v1/messages", json=BODY)
    assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")
    assert "Sign in" not in response.text
