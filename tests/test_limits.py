"""Limits as clients meet them: several processes, many at once, and what the answer says."""

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from accounts.tests.people import Person
from billing.models import Allowance, Plan, Subscription, UsageRecord, UsageRollup
from tests import answers
from tests import gateway as gateways
from tests.asking import (
    BODY,
    another_client,
    ask,
    asking_to_leave,
    error_of,
    rows,
    stream,
)
from tests.environment import VAR
from tests.gateway import Gateway
from tests.turns import text_turn, usage
from tests.upstream import Upstream as ScriptedUpstream

AT_ONCE = 200
ASKED_AGAIN = 6  # each 503 has waited for seconds
PROCESSES = 3


def subscribe(person: Person, **limits: object) -> Subscription:
    """Put the person's organization on a plan of its own with these limits."""
    plan = Plan.objects.create(code="tight", name="Tight", **limits)
    return Subscription.objects.create(organization=person.organization, plan=plan)


def begin_a_minute(person: Person, least_s: float = 20) -> None:
    """Wait until none of the minutes in which this user's requests are counted ends soon."""
    who = f"{person.organization.pk.hex}/user:{person.user.pk}"
    ends = zlib.crc32(who.encode()) % 60
    gateways.eventually(lambda: (ends - time.time()) % 60 > least_s, within_s=least_s + 5)


@pytest.fixture
def processes(gateway: Gateway) -> Iterator[list[str]]:
    """The addresses of several processes on one database."""
    with ExitStack() as stack:
        others = [
            stack.enter_context(gateways.running(VAR / f"gateway-{number}.log"))[0]
            for number in range(1, PROCESSES)
        ]
        yield [gateway.url, *others]


async def asked_at_once(gateway: Gateway, processes: list[str]) -> Counter[int]:
    """The statuses of many requests at once, spread over the processes.

    A busy machine's database may take longer than a row waits for it. The answer is then 529, which
    says that nothing was written, and clients ask again.
    """
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(
        headers=gateway.headers, timeout=60, limits=limits, trust_env=False
    ) as client:

        async def asked(url: str) -> int:
            for _ in range(ASKED_AGAIN):
                answer = await client.post(f"{url}/v1/messages", json=BODY)
                if answer.status_code != 529:
                    break
            return answer.status_code

        urls = (processes[n % len(processes)] for n in range(AT_ONCE))
        return Counter(await asyncio.gather(*map(asked, urls)))


def test_it_admits_not_one_more_than_the_day_has_whichever_process_is_asked(
    gateway: Gateway, alice: Person, processes: list[str]
) -> None:
    subscribe(alice, requests_per_day=25)
    statuses = asyncio.run(asked_at_once(gateway, processes))
    assert statuses == {200: 25, 429: AT_ONCE - 25}
    assert len(rows(25)) == 25
    assert Allowance.objects.get().requests == 25


def test_it_never_passes_a_days_tokens_whichever_process_is_asked(
    gateway: Gateway, alice: Person, processes: list[str], upstream: ScriptedUpstream
) -> None:
    """Each request uses what it may at most: its whole max_tokens, and its input as we count it."""
    size = len(httpx.Request("POST", "http://x", json=BODY).content) // 4
    upstream.script(*[text_turn(cost=usage(input_tokens=size, output_tokens=10))] * AT_ONCE)
    subscribe(alice, tokens_per_day=1000)
    statuses = asyncio.run(asked_at_once(gateway, processes))
    most = 1000 // (size + 10)
    assert statuses[200] <= most
    assert statuses[200] + statuses[429] == AT_ONCE

    def settled() -> bool:
        return not UsageRecord.objects.filter(state="admitted").exists()

    gateways.eventually(settled)
    allowance = Allowance.objects.get()
    assert allowance.tokens == statuses[200] * (size + 10)
    assert 1000 - (size + 10) <= allowance.tokens <= 1000 or statuses[200] < most
    assert (allowance.tokens_held, allowance.cost_held_nano) == (0, 0)
    assert UsageRollup.objects.get(kind="day").requests == statuses[200]


def test_it_tells_with_every_answer_where_the_caller_stands(
    client: httpx.Client, alice: Person, upstream: ScriptedUpstream
) -> None:
    subscribe(alice, requests_per_day=100, tokens_per_day=10_000)
    answer = ask(client)
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "100"
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "99"
    assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("T00:00:00Z")
    assert int(answer.headers["anthropic-ratelimit-tokens-remaining"]) < 10_000
    with stream(client) as streamed:
        assert streamed.headers["anthropic-ratelimit-requests-remaining"] == "98"
        streamed.read()
    refusal = client.post("/v1/messages", json=BODY | {"model": 7})
    assert refusal.status_code == 400
    rows(2)


def test_it_tells_it_with_an_upstreams_refusal_too_and_counts_the_request(
    client: httpx.Client, alice: Person, upstream: ScriptedUpstream
) -> None:
    subscribe(alice, requests_per_day=100)
    upstream.script(answers.error(529, "overloaded_error", "busy"))
    answer = ask(client)
    assert answer.status_code == 529
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "99"


def test_it_refuses_in_words_that_help(client: httpx.Client, alice: Person) -> None:
    subscribe(alice, requests_per_day=1)
    assert ask(client).status_code == 200
    refusal = ask(client)
    assert error_of(refusal) == (429, "rate_limit_error")
    message = refusal.json()["error"]["message"]
    assert "The plan Tight allows 1 request per day" in message
    assert "begins anew at" in message
    assert refusal.headers["x-should-retry"] == "false"
    assert int(refusal.headers["retry-after"]) > 0
    counted = client.post("/v1/messages/count_tokens", json={"model": "m", "messages": []})
    assert counted.status_code == 200
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/health").status_code == 200
    assert Allowance.objects.get().requests == 1


def test_it_counts_a_service_key_by_itself(
    gateway: Gateway, client: httpx.Client, alice: Person
) -> None:
    subscribe(alice, requests_per_day=1)
    row, plaintext = alice.key("ci")
    type(row).objects.filter(id=row.id).update(is_service=True)
    assert ask(client).status_code == 200
    assert ask(client).status_code == 429
    with another_client(gateway, key=plaintext) as service:
        assert ask(service).status_code == 200
        assert ask(service).status_code == 429
    subjects = set(Allowance.objects.values_list("subject", flat=True))
    assert subjects == {f"user:{alice.user.pk}", f"key:{row.id}"}


def test_it_serves_nobody_of_a_suspended_organization(
    gateway: Gateway, client: httpx.Client, alice: Person, charlies_key: str
) -> None:
    subscription = subscribe(alice)
    Subscription.objects.update(state="suspended", reason="the invoice of March is open")
    refusal = ask(client)
    assert error_of(refusal) == (402, "billing_error")
    assert "the invoice of March is open" in refusal.json()["error"]["message"]
    assert refusal.headers["x-should-retry"] == "false"
    with another_client(gateway, key=charlies_key) as charlie:
        assert ask(charlie).status_code == 200
    Subscription.objects.filter(pk=subscription.pk).update(state="active")
    assert ask(client).status_code == 200


def test_it_settles_what_a_client_held_that_left(
    gateway: Gateway, client: httpx.Client, alice: Person, upstream: ScriptedUpstream
) -> None:
    subscribe(alice, tokens_per_day=10_000)
    turn = text_turn()
    upstream.script(answers.stream([*map(answers.sse, turn.events()[:4]), answers.End.HANG]))
    with stream(client) as streamed:
        next(streamed.iter_raw())
    (row,) = rows(1)
    assert (row.state, row.estimated) == ("interrupted", True)
    assert "partial" in row.flags
    assert row.input_tokens > 0
    allowance = Allowance.objects.get()
    assert allowance.tokens_held == 0
    assert allowance.tokens == row.input_tokens + row.output_tokens


def test_it_charges_the_input_of_a_client_that_left_before_the_first_byte(
    gateway: Gateway, alice: Person, upstream: ScriptedUpstream
) -> None:
    subscribe(alice, tokens_per_day=10_000)
    upstream.script(answers.silent())
    with asking_to_leave(gateway):
        upstream.wait_for(1)
    (row,) = rows(1)
    assert (row.state, row.flags, row.estimated) == ("interrupted", "left", True)
    assert row.input_tokens == row.expected_input_tokens > 0
    allowance = Allowance.objects.get()
    assert (allowance.tokens, allowance.tokens_held) == (row.input_tokens, 0)


def test_it_sums_a_request_by_its_tags_or_else_by_its_keys(
    gateway: Gateway, client: httpx.Client, alice: Person
) -> None:
    type(alice.key()[0]).objects.update(tags=["laptop"])
    sent = {"x-opscenter-tags": "team-a, project:x"}
    assert client.post("/v1/messages", json=BODY, headers=sent).status_code == 200
    assert ask(client).status_code == 200
    assert [row.tags for row in rows(2)] == [["team-a", "project:x"], ["laptop"]]
    labels = UsageRollup.objects.filter(kind="tag").values_list("label", flat=True)
    assert set(labels) == {"team-a", "project:x", "laptop"}


@pytest.mark.parametrize("tags", ["x" * 60, ",".join("abcdefghijk"), "a\u00e9", "y" * 20_000])
def test_it_refuses_tags_that_are_none_and_names_the_header(
    client: httpx.Client, tags: str
) -> None:
    sent = {b"x-opscenter-tags": tags.encode("latin-1")}
    refusal = client.post("/v1/messages", json=BODY, headers=sent)
    assert error_of(refusal) == (400, "invalid_request_error")
    assert "x-opscenter-tags: " in refusal.json()["error"]["message"]
    assert not UsageRecord.objects.exists()
