"""An upstream that speaks the Messages API without being Anthropic, and gateways in a circle."""

import httpx
import pytest

from proxy.models import Route
from proxy.models import Upstream as Provider
from tests import answers
from tests.asking import ask, error_of
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream


@pytest.fixture
def compatible(gateway: Gateway, upstream: Upstream) -> Provider:
    """The only upstream, with its row."""
    Route.objects.all().delete()
    return lead_to(upstream.url, name="vllm", kind="compatible", target_model="qwen")


def test_it_is_asked_for_no_more_than_it_gives(
    compatible: Provider, client: httpx.Client, upstream: Upstream
) -> None:
    compatible.max_output_tokens = 500
    compatible.save()
    assert ask(client, max_tokens=32000).json()["model"] == "claude-opus-5-5"
    ask(client, max_tokens=499)
    assert [request.json["max_tokens"] for request in upstream.requests] == [500, 499]
    assert {request.json["model"] for request in upstream.requests} == {"qwen"}


def test_a_whole_answer_becomes_the_stream_that_was_asked_for(
    compatible: Provider, client: httpx.Client, upstream: Upstream
) -> None:
    upstream.script(answers.as_json(text_turn("in one piece").message("qwen")))
    response = ask(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "in one piece" in response.text
    assert response.text.count("event: message_stop") == 1
    assert '"model":"claude-opus-5-5"' in response.text


def test_gateways_that_lead_to_each_other_give_up(
    compatible: Provider, client: httpx.Client, gateway: Gateway, upstream: Upstream
) -> None:
    compatible.base_url, compatible.credential_header = gateway.url, "authorization"
    compatible.store(gateway.key)
    compatible.save()
    Route.objects.update(target_model="")
    response = ask(client)
    assert error_of(response) == (404, "not_found_error")
    assert "their routes lead in a circle" in response.text
    counted = client.post("/v1/messages/count_tokens", json={"model": "m", "messages": []})
    assert counted.headers["x-opscenter-estimated"] == "input_tokens"
    assert upstream.requests == []
