"""POST /v1/messages/count_tokens: by the upstream that would answer, else by an estimate."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing.models import UsageRecord
from proxy.breaker import OPENS_AFTER
from proxy.models import Route, Upstream
from tests import answers
from tests import gateway as gateways
from tests.answers import Gate
from tests.asking import another_client, ask, error_of, rows
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.upstream import COUNT_TOKENS, COUNTED_TOKENS, MESSAGES
from tests.upstream import Upstream as Scripted

BODY = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "How many?" * 100}]}
MARK = "x-opscenter-estimated"


def count(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post(COUNT_TOKENS, json=BODY | body)


def estimated(response: httpx.Response) -> int:
    assert response.status_code == 200
    assert response.headers[MARK] == "input_tokens"
    assert set(response.json()) == {"input_tokens"}
    return int(response.json()["input_tokens"])


@pytest.fixture
def crowded(
    gateway: Gateway, upstream: Scripted, tmp_path: Path
) -> Iterator[tuple[httpx.Client, Gate]]:
    """A client of a gateway all of whose connections for messages hang until the gate opens."""
    log, gate = tmp_path / "gateway.log", Gate()
    upstream.answer_by(lambda request: answers.Answer(steps=(gate,)))
    with (
        gateways.running(log, OPSCENTER_UPSTREAM_CONNECTIONS="3") as (url, _),
        another_client(gateway, url) as client,
        ThreadPoolExecutor(3) as clients,
    ):
        held = [clients.submit(ask, client) for _ in range(3)]
        upstream.wait_for(3)
        yield client, gate
        gate.open()
        assert {each.result(20).status_code for each in held} == {502}
    assert "Traceback" not in log.read_text()


def test_it_asks_the_upstream_that_would_answer(client: httpx.Client, upstream: Scripted) -> None:
    response = count(client)
    assert response.json() == {"input_tokens": COUNTED_TOKENS}
    assert MARK not in response.headers
    assert upstream.requests[0].json == BODY


def test_it_asks_for_the_model_that_the_upstream_knows(
    client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.update(target_model="qwen")
    assert count(client).json() == {"input_tokens": COUNTED_TOKENS}
    assert upstream.requests[0].json["model"] == "qwen"


def test_it_counts_forty_at_once_while_all_connections_for_messages_hang(
    crowded: tuple[httpx.Client, Gate], upstream: Scripted
) -> None:
    client, _ = crowded
    with ThreadPoolExecutor(40) as clients:
        counted = list(clients.map(lambda _: count(client), range(40)))
    assert [each.json() for each in counted] == [{"input_tokens": COUNTED_TOKENS}] * 40
    assert len(upstream.sent_to(COUNT_TOKENS)) == 40


def test_it_tells_a_message_at_once_that_no_connection_is_free(
    crowded: tuple[httpx.Client, Gate], upstream: Scripted
) -> None:
    client, _ = crowded
    for _ in range(OPENS_AFTER + 1):
        response = ask(client)
        assert error_of(response) == (529, "overloaded_error")
        assert int(response.headers["retry-after"]) >= 1
    assert len(upstream.sent_to(MESSAGES)) == 3


@pytest.mark.parametrize(
    "failure",
    [
        answers.gone(),
        answers.error(404, "not_found_error", "no such thing"),
        answers.as_html("<h1>Method Not Allowed</h1>", status=405),
        answers.error(429, "rate_limit_error", "slow down"),
        answers.error(500, "api_error", "oops"),
        answers.as_html("<h1>Welcome</h1>", status=200),
        answers.error(529, "overloaded_error", "busy"),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.steps)}",
)
def test_it_estimates_and_says_so_where_the_upstream_does_not_count(
    client: httpx.Client, upstream: Scripted, failure: answers.Answer
) -> None:
    upstream.script(failure, failure, path=COUNT_TOKENS)
    few, many = estimated(count(client)), estimated(count(client, system="You are " * 1000))
    assert 100 < few < 1000 < many


def test_it_estimates_where_the_upstream_has_no_way_to_count(client: httpx.Client) -> None:
    Upstream.objects.update(kind=Upstream.Kind.OPENAI)
    assert estimated(count(client)) > 100


def test_it_estimates_a_large_body(client: httpx.Client, upstream: Scripted) -> None:
    upstream.script(answers.gone(), path=COUNT_TOKENS)
    assert estimated(count(client, system="word " * 200_000)) > 100_000


def test_it_hands_on_what_is_wrong_with_the_request(
    client: httpx.Client, upstream: Scripted
) -> None:
    upstream.script(answers.error(400, "invalid_request_error", "messages: no"), path=COUNT_TOKENS)
    assert error_of(count(client)) == (400, "invalid_request_error")


def test_it_says_that_the_credential_is_not_accepted(
    client: httpx.Client, upstream: Scripted
) -> None:
    upstream.key = "another"
    response = count(client)
    assert error_of(response) == (502, "api_error")
    assert response.headers["x-should-retry"] == "false"


def test_it_leaves_an_upstream_in_use_however_often_counting_fails(
    client: httpx.Client, upstream: Scripted
) -> None:
    upstream.script(*[answers.gone()] * 2 * OPENS_AFTER, path=COUNT_TOKENS)
    for _ in range(2 * OPENS_AFTER):
        count(client)
    assert ask(client).status_code == 200
    assert rows(1)[0].attempts == 1


def test_it_asks_the_next_upstream_while_one_is_known_to_fail(
    chain: Gateway, client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(*[answers.gone()] * OPENS_AFTER)
    for _ in range(OPENS_AFTER):
        ask(client)
    assert count(client).json() == {"input_tokens": COUNTED_TOKENS}
    assert upstream.sent_to(COUNT_TOKENS) == []
    assert len(second.sent_to(COUNT_TOKENS)) == 1


def test_it_is_no_request_of_the_ledgers(client: httpx.Client, upstream: Scripted) -> None:
    upstream.script(answers.gone(), path=COUNT_TOKENS)
    count(client)
    count(client)
    ask(client)
    rows(1)
    assert UsageRecord.objects.count() == 1


def test_it_names_the_model_that_nobody_serves(client: httpx.Client) -> None:
    Route.objects.all().delete()
    lead_to("", name="demo", kind="demo", pattern="demo")
    assert error_of(count(client)) == (404, "not_found_error")
