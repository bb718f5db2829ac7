"""What an upstream that fails costs: a pause, a probe, a place; and a stream that breaks off."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from proxy.breaker import OPENS_AFTER
from proxy.models import Upstream
from tests import answers
from tests import gateway as gateways
from tests.answers import End, Gate
from tests.asking import ask, asking_to_leave, error_of, rows, stream
from tests.conftest import ledger_row
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream as Scripted

EVENTS = text_turn().events()


@pytest.fixture
def lonely(client: httpx.Client) -> httpx.Client:
    """A client whose models have one upstream with a single place, and no other."""
    Upstream.objects.update(concurrency=1)
    return client


@pytest.fixture
def many(gateway: Gateway) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as clients:
        yield clients


def fail(client: httpx.Client, upstream: Scripted, times: int = OPENS_AFTER) -> None:
    upstream.script(*[answers.gone()] * times)
    for _ in range(times):
        ask(client)


@pytest.mark.usefixtures("chain")
def test_it_no_longer_asks_an_upstream_that_keeps_failing(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    fail(client, upstream)
    assert ask(client).status_code == 200
    assert (len(upstream.requests), len(second.requests)) == (OPENS_AFTER, OPENS_AFTER + 1)
    assert [row.attempts for row in rows(OPENS_AFTER + 1)] == [2] * OPENS_AFTER + [1]


def test_it_says_when_the_only_upstream_is_tried_again(
    client: httpx.Client, upstream: Scripted
) -> None:
    fail(client, upstream)
    response = ask(client)
    assert error_of(response) == (503, "overloaded_error")
    assert 1 <= int(response.headers["retry-after"]) <= 5
    assert "scripted" in response.json()["error"]["message"]
    assert len(upstream.requests) == OPENS_AFTER
    last = rows(OPENS_AFTER + 1)[-1]
    assert (last.state, last.attempts, last.status) == ("failed", 0, 503)


@pytest.mark.parametrize("refusal", [(400, "invalid_request_error"), (429, "rate_limit_error")])
def test_it_goes_on_asking_an_upstream_that_only_refuses(
    client: httpx.Client, upstream: Scripted, refusal: tuple[int, str]
) -> None:
    upstream.script(*[answers.error(*refusal, "no")] * (OPENS_AFTER + 1))
    told = [error_of(ask(client)) for _ in range(OPENS_AFTER + 1)]
    assert told == [refusal] * (OPENS_AFTER + 1)
    assert len(upstream.requests) == OPENS_AFTER + 1


@pytest.mark.usefixtures("chain")
def test_it_asks_the_next_upstream_while_all_places_of_one_are_taken(
    client: httpx.Client, upstream: Scripted, second: Scripted, many: ThreadPoolExecutor
) -> None:
    Upstream.objects.filter(name="first").update(concurrency=1)
    gate = Gate()
    upstream.script(answers.stream([EVENTS[0], gate, *EVENTS[1:]]))
    held = many.submit(ask, client, stream=True)
    assert gate.reached.wait(10)
    assert ask(client).status_code == 200
    gate.open()
    assert held.result(20).status_code == 200
    assert (len(upstream.requests), len(second.requests)) == (1, 1)
    assert {(row.upstream, row.attempts) for row in rows(2)} == {("first", 1), ("second", 1)}


def test_it_says_529_while_all_places_of_the_only_upstream_are_taken(
    lonely: httpx.Client, upstream: Scripted, many: ThreadPoolExecutor
) -> None:
    gate = Gate()
    upstream.script(answers.stream([EVENTS[0], gate, *EVENTS[1:]]))
    held = many.submit(ask, lonely, stream=True)
    assert gate.reached.wait(10)
    response = ask(lonely)
    assert error_of(response) == (529, "overloaded_error")
    assert int(response.headers["retry-after"]) >= 1
    gate.open()
    assert held.result(20).status_code == 200
    assert ask(lonely).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        answers.gone(),
        answers.error(400, "invalid_request_error", "no"),
        answers.error(401, "authentication_error", "no"),
        answers.error(529, "overloaded_error", "no"),
        answers.as_html("<h1>no</h1>"),
        answers.as_html("<h1>no</h1>", status=200),
        answers.as_json({"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}),
        answers.stream([]),
        answers.stream([End.CUT]),
        answers.stream([{"type": "error", "error": {"type": "rate_limit_error"}}]),
        answers.stream([EVENTS[0], End.CUT]),
        answers.stream(EVENTS, headers={"content-encoding": "gzip"}),
        answers.stream(EVENTS),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.steps)}",
)
def test_it_gives_a_place_back_however_an_answer_ends(
    lonely: httpx.Client, upstream: Scripted, answer: answers.Answer
) -> None:
    upstream.script(answer)
    ask(lonely, stream=True)
    assert ask(lonely).status_code == 200


@pytest.mark.parametrize(
    "start",
    [None, [b""], [b"event: mess"], EVENTS[:3]],
    ids=["before the head", "before the first byte", "in the first event", "in the middle"],
)
def test_it_gives_a_place_back_when_the_client_leaves(
    lonely: httpx.Client,
    gateway: Gateway,
    upstream: Scripted,
    start: list[dict[str, object] | answers.Step] | None,
) -> None:
    gate = Gate()
    upstream.script(
        answers.Answer(steps=(gate,)) if start is None else answers.stream([*start, gate])
    )
    with asking_to_leave(gateway):
        assert gate.reached.wait(10)
    assert upstream.requests[0].left()
    assert gateways.eventually(lambda: ask(lonely).status_code == 200)


def test_it_ends_a_stream_that_breaks_off_with_one_error_event(
    client: httpx.Client, upstream: Scripted
) -> None:
    upstream.script(answers.stream([*EVENTS[:4], End.CUT]))
    with stream(client) as response:
        got = response.read()
    assert got.count(b"event: error") == 1
    assert got.startswith(b"".join(map(answers.sse, EVENTS[:4])))
    assert b"api_error" in got.splitlines()[-2]
    assert got.endswith(b"\n\n")
    row = ledger_row()
    assert (row.state, row.error_type, row.attempts) == ("failed", "api_error", 1)


@pytest.mark.usefixtures("chain")
def test_it_asks_nobody_else_once_the_client_has_seen_something(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(answers.stream([EVENTS[0], End.CUT]))
    with stream(client) as response:
        got = response.read()
    assert got.count(b"event: error") == 1
    assert second.requests == []
    assert ledger_row().moved_from == ""


@pytest.mark.usefixtures("chain")
def test_it_asks_a_closed_connection_again_and_moves_nobody(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    for _ in range(3):
        ask(client)  # leaves a connection that is kept
        upstream.script(answers.gone())
        assert ask(client).status_code == 200
    assert second.requests == []
    assert {(row.upstream, row.attempts, row.moved_from) for row in rows(6)} == {("first", 1, "")}


def test_it_lets_one_request_look_whether_an_upstream_is_well_again(
    gateway: Gateway, client: httpx.Client, upstream: Scripted, many: ThreadPoolExecutor
) -> None:
    """The pause is five seconds, so this test takes as long."""
    fail(client, upstream)
    gate = Gate()
    upstream.answer_by(lambda request: answers.stream([gate, *EVENTS]))
    probe = many.submit(lambda: gateways.eventually(lambda: served(client, stream=True)))
    assert gate.reached.wait(20)
    refused = [many.submit(ask, client) for _ in range(5)]
    assert {error_of(each.result(20)) for each in refused} == {(503, "overloaded_error")}
    assert len(upstream.requests) == OPENS_AFTER + 1
    gate.open()
    assert probe.result(20).status_code == 200
    assert ask(client, stream=True).status_code == 200


def served(client: httpx.Client, **body: Any) -> httpx.Response | None:
    response = ask(client, **body)
    return response if response.status_code == 200 else None
