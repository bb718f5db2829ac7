"""One upstream fails before the first byte: the next one answers, and the client sees only that."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from proxy.models import Route, Upstream
from tests import answers
from tests import gateway as gateways
from tests.asking import another_client, ask, error_of, rows, stream
from tests.conftest import lead_to, ledger_row
from tests.gateway import Gateway
from tests.upstream import Upstream as Scripted

pytestmark = pytest.mark.usefixtures("chain")


def overloaded(*, retry_after: str = "") -> answers.Answer:
    headers = {"retry-after": retry_after} if retry_after else {}
    return answers.error(529, "overloaded_error", "busy", headers=headers)


@pytest.mark.parametrize(
    "failure",
    [
        answers.gone(),
        answers.error(403, "permission_error", "no"),
        answers.error(408, "timeout_error", "late"),
        answers.error(429, "rate_limit_error", "slow down"),
        answers.error(500, "api_error", "oops"),
        answers.as_html("<h1>Bad Gateway</h1>", status=502),
        answers.error(503, "api_error", "down"),
        answers.as_html("<h1>Gateway Timeout</h1>", status=504),
        overloaded(),
        answers.error(401, "authentication_error", "whose key is this"),
        answers.error(402, "billing_error", "your credit is used up"),
        answers.as_html("<h1>Welcome</h1>", status=200),
        answers.as_json({}, status=302, headers={"location": "http://127.0.0.1:1/"}),
        answers.as_json(
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
        ),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.steps)}",
)
@pytest.mark.parametrize("streaming", [False, True])
def test_it_asks_the_next_upstream_when_one_fails(
    client: httpx.Client,
    upstream: Scripted,
    second: Scripted,
    failure: answers.Answer,
    streaming: bool,
) -> None:
    upstream.script(failure)
    response = ask(client, stream=streaming)
    assert response.status_code == 200
    assert "Hello" in response.text
    assert (len(upstream.requests), len(second.requests)) == (1, 1)
    row = ledger_row()
    assert (row.state, row.upstream, row.moved_from) == ("completed", "second", "first")
    assert (row.attempts, row.status) == (2, 200)


@pytest.mark.parametrize(
    "start",
    [
        [],
        [answers.End.CUT],
        [b"", answers.End.CUT],
        [b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'],
        [{"type": "error", "error": {"type": "api_error", "message": "no memory"}}],
        [{"type": "error", "error": {"type": "authentication_error", "message": "who?"}}],
        [{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}],
        [b"x" * 100, answers.End.CUT],
    ],
    ids=str,
)
def test_it_asks_the_next_upstream_when_a_stream_has_no_first_event(
    client: httpx.Client, upstream: Scripted, start: list[answers.Step]
) -> None:
    upstream.script(answers.stream(start))
    with stream(client) as response:
        got = response.read()
    assert b"error" not in got
    assert got.endswith(answers.sse({"type": "message_stop"}))
    assert ledger_row().moved_from == "first"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (404, "not_found_error"), (413, "request_too_large")],
)
def test_it_hands_on_what_would_be_refused_everywhere(
    client: httpx.Client, upstream: Scripted, second: Scripted, status: int, kind: str
) -> None:
    upstream.script(answers.error(status, kind, "not like this"))
    assert error_of(ask(client)) == (status, kind)
    assert second.requests == []
    row = ledger_row()
    assert (row.state, row.moved_from, row.attempts) == ("failed", "", 1)


def test_it_hands_on_an_error_inside_an_answer_that_would_be_the_same_everywhere(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: no"}}
    upstream.script(answers.as_json(said))
    response = ask(client)
    assert error_of(response) == (400, "invalid_request_error")
    assert response.json()["error"]["message"] == "messages: no"
    assert second.requests == []


# Takes a connection, says when the request has begun to arrive, and never answers.
VICTIM = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.recv(9)
print("asked", flush=True)
while connection.recv(65536):
    pass
"""


@pytest.mark.parametrize("streaming", [False, True])
def test_it_costs_the_client_nothing_but_time_when_an_upstream_is_killed(
    client: httpx.Client, second: Scripted, streaming: bool
) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE) as victim,
        ThreadPoolExecutor(1) as clients,
    ):
        assert victim.stdout is not None
        address = f"http://127.0.0.1:{int(victim.stdout.readline())}"
        Upstream.objects.filter(name="first").update(base_url=address)
        asking = clients.submit(ask, client, stream=streaming)
        assert victim.stdout.readline() == b"asked\n"
        victim.kill()
        response = asking.result(timeout=20)
    assert response.status_code == 200
    assert len(second.requests) == 1
    row = ledger_row()
    assert (row.state, row.moved_from, row.attempts) == ("completed", "first", 2)


def test_it_asks_no_more_upstreams_than_the_budget_allows(
    gateway: Gateway, upstream: Scripted, tmp_path: Path
) -> None:
    for position in range(3, 8):
        lead_to(upstream.url, name=f"more-{position}", position=position)
    Upstream.objects.update(base_url=upstream.url)
    upstream.answer_by(lambda request: overloaded())
    with (
        gateways.running(tmp_path / "log", OPSCENTER_UPSTREAM_ATTEMPTS="3") as (url, _),
        another_client(gateway, url) as client,
    ):
        response = ask(client)
    assert error_of(response) == (529, "overloaded_error")
    assert response.headers["x-should-retry"] == "false"
    assert len(upstream.requests) == 3
    row = ledger_row()
    assert (row.state, row.attempts, row.moved_from) == ("failed", 3, "first")


def test_it_lets_a_client_try_again_what_it_has_tried_only_once(
    client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.filter(upstream__name="second").delete()
    upstream.script(overloaded())
    response = ask(client)
    assert error_of(response) == (529, "overloaded_error")
    assert "x-should-retry" not in response.headers
    assert ledger_row().attempts == 1


def test_it_tells_a_client_when_to_come_back_whichever_upstream_said_so(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(answers.error(429, "rate_limit_error", "later", headers={"retry-after": "20"}))
    second.script(answers.gone())
    response = ask(client)
    assert error_of(response) == (429, "rate_limit_error")
    assert response.headers["retry-after"] == "20"
    assert "x-should-retry" not in response.headers
    assert len(second.requests) == 1


@pytest.mark.parametrize(
    ("said", "told"), [("7", "7"), ("0.5", "1"), ("3600", "60"), ("9" * 400, "60")]
)
def test_it_tells_a_client_to_wait_a_minute_at_most(
    client: httpx.Client, upstream: Scripted, said: str, told: str
) -> None:
    Route.objects.filter(upstream__name="second").delete()
    upstream.script(overloaded(retry_after=said))
    assert ask(client).headers["retry-after"] == told


def test_it_leaves_an_upstream_alone_that_asks_for_patience(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(overloaded(retry_after="30"))
    assert [ask(client).status_code for _ in range(3)] == [200] * 3
    assert (len(upstream.requests), len(second.requests)) == (1, 3)
    assert [row.attempts for row in rows(3)] == [2, 1, 1]
    assert {row.moved_from for row in rows(3)} == {"first"}


def test_it_says_when_to_come_back_while_all_upstreams_ask_for_patience(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(overloaded(retry_after="30"))
    second.script(overloaded(retry_after="10"))
    assert ask(client).headers["retry-after"] == "10"
    response = ask(client)
    assert error_of(response) == (429, "rate_limit_error")
    assert 1 <= int(response.headers["retry-after"]) <= 10
    assert (len(upstream.requests), len(second.requests)) == (1, 1)
    assert rows(2)[-1].attempts == 0


def test_it_asks_the_only_upstream_whatever_it_said(
    client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.filter(upstream__name="second").delete()
    upstream.script(overloaded(retry_after="30"))
    assert [ask(client).status_code for _ in range(2)] == [529, 200]


def test_it_leaves_other_models_of_that_upstream_where_they_are(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(overloaded(retry_after="30"))
    ask(client)
    ask(client, model="claude-haiku-5-5")
    assert (len(upstream.requests), len(second.requests)) == (2, 1)
