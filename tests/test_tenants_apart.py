"""What one organization does with an upstream takes nothing from another one that uses it too."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from accounts.tests.people import Person
from proxy.breaker import OPENS_AFTER
from proxy.models import OwnCredential, Route, Upstream
from tests import answers
from tests.answers import Answer
from tests.asking import another_client, ask
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.turns import Turn, text_turn
from tests.upstream import Request
from tests.upstream import Upstream as Scripted

KEY = "sk-alices-own"
CHAT = "/other/v1/chat/completions"
COMPLETION = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
}
BOGUS = {"effort": "bogus"}


@pytest.fixture
def charlies(gateway: Gateway, charlies_key: str) -> Iterator[httpx.Client]:
    """A client of another organization."""
    with another_client(gateway, key=charlies_key) as client:
        yield client


@pytest.fixture
def shared(gateway: Gateway, upstream: Scripted) -> Upstream:
    """One compatible upstream for all."""
    Route.objects.all().delete()
    return lead_to(upstream.url, name="shared", kind="compatible")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_bad_credential_of_its_own_closes_the_upstream_to_nobody_else(
    status: int,
    shared: Upstream,
    client: httpx.Client,
    charlies: httpx.Client,
    alice: Person,
    upstream: Scripted,
) -> None:
    own = OwnCredential(organization=alice.organization, upstream=shared)
    own.store(KEY)
    own.save()
    no = {"error": {"type": "no_db_connection", "message": "No connected db.", "code": "400"}}

    def judged(request: Request) -> Answer | Turn:
        is_alices = KEY in request.headers.get("x-api-key", "")
        return answers.as_json(no, status=status) if is_alices else text_turn()

    upstream.answer_by(judged)
    for _ in range(OPENS_AFTER + 1):
        assert ask(client).status_code in {500, 502}
    assert ask(charlies).status_code == 200


def test_a_value_that_one_of_them_gets_refused_is_still_sent_for_the_others(
    shared: Upstream, client: httpx.Client, charlies: httpx.Client, upstream: Scripted
) -> None:
    wrong = answers.error(
        400, "invalid_request_error", "output_config.effort: Input should be 'low'"
    )

    def judged(request: Request) -> Answer | Turn:
        return wrong if request.json.get("output_config") == BOGUS else text_turn()

    upstream.answer_by(judged)
    assert ask(client, output_config=BOGUS).status_code == 200
    assert ask(charlies, output_config={"effort": "low"}).status_code == 200
    assert upstream.requests[-1].json["output_config"] == {"effort": "low"}


def test_only_what_has_helped_is_left_out_from_then_on(
    gateway: Gateway, client: httpx.Client, upstream: Scripted
) -> None:
    Route.objects.all().delete()
    lead_to(f"{upstream.url}/other", name="translated", kind="openai")
    echoing = "top_k reasoning_effort unsupported: Invalid schema for function 'f'"
    complaint = answers.as_json({"error": {"message": echoing}}, status=400)
    upstream.script(*[complaint] * 3, answers.as_json(COMPLETION), path=CHAT)
    wanted: dict[str, Any] = {"top_k": 5, "output_config": {"effort": "low"}}
    assert ask(client, messages=[{"role": "user", "content": "Hi"}], **wanted).status_code == 200
    upstream.script(answers.as_json(COMPLETION), path=CHAT)
    assert ask(client, messages=[{"role": "user", "content": "Hi"}], **wanted).status_code == 200
    last = upstream.sent_to(CHAT)[-1].json
    assert (last["top_k"], last["reasoning_effort"]) == (5, "low")
