"""LiteLLM's proxy, the real one, when it refuses, fails or dies: what becomes of the request."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from billing.models import UsageRecord
from proxy.models import Route
from proxy.wire.message import assemble
from tests import answers, openai_turns
from tests.answers import Answer, End, Gate, Step, stream
from tests.openai_server import CHAT_COMPLETIONS, OpenAIServer
from tests.real import litellm as proxies
from tests.real.conftest import Claude, Gateway, need
from tests.real.litellm import ANTHROPIC, OPENAI, LiteLLM
from tests.real.tap import Tap
from tests.test_streams import events_of
from tests.tool_loop import DONE, ToolLoop
from tests.turns import text_turn
from tests.upstream import Upstream

pytestmark = pytest.mark.real

TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000"
    " tokens. Please reduce the length of the messages."
)
KINDS = ["compatible", "openai"]
ASK = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
}


@pytest.fixture
def mortal(tmp_path: Path, upstream: Upstream, openai_server: OpenAIServer) -> Iterator[LiteLLM]:
    """A proxy that a test may kill."""
    need("litellm")
    with proxies.running(tmp_path, openai=openai_server.url, anthropic=upstream.url) as proxy:
        yield proxy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "named"), [(429, "rate_limit_error"), (500, "server_error")])
def test_another_upstream_answers_when_it_fails(
    client: httpx.Client,
    litellm: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
    kind: str,
    status: int,
    named: str,
) -> None:
    proxies.lead_to(litellm, OPENAI, kind=kind)
    openai_server.script(openai_turns.error(status, named, "not now"), path=CHAT_COMPLETIONS)
    answered = client.post("/v1/messages", json=ASK | {"stream": False})
    assert answered.json()["content"] == [{"type": "text", "text": "Hello from the upstream."}]
    assert (len(openai_server.sent_to(CHAT_COMPLETIONS)), len(upstream.requests)) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_claude_code_finishes_its_loop_elsewhere_while_it_fails(
    claude: Claude,
    gateway: Gateway,
    litellm: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
    kind: str,
) -> None:
    proxies.lead_to(litellm, OPENAI, kind=kind)
    openai_server.answer_by(lambda request: openai_turns.error(500, "server_error", "not now"))
    upstream.answer_by(ToolLoop(str(claude.folder)))
    done = claude("do the work", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, f"{DONE}\n"), done.stderr
    # Asked once: from then on the session stays where it was moved to.
    assert len(openai_server.sent_to(CHAT_COMPLETIONS)) == 1
    moved = UsageRecord.objects.exclude(moved_from="")
    assert list(moved.values_list("upstream", "attempts")) == [("scripted", 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_another_upstream_answers_when_it_is_killed_before_the_first_byte(
    client: httpx.Client,
    mortal: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
    kind: str,
) -> None:
    proxies.lead_to(mortal, OPENAI, kind=kind)
    gate = Gate()

    def die(_: object) -> Answer:
        mortal.kill()
        return Answer(steps=(gate,))

    openai_server.answer_by(die)
    answered = client.post("/v1/messages", json=ASK)
    message = assemble([json.loads(event.data) for event in events_of(answered.content)])
    assert message["content"] == [{"type": "text", "text": "Hello from the upstream."}]
    assert (len(openai_server.sent_to(CHAT_COMPLETIONS)), len(upstream.requests)) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_one_error_ends_the_stream_when_it_is_killed_after_the_first_byte(
    client: httpx.Client,
    mortal: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
    kind: str,
) -> None:
    proxies.lead_to(mortal, OPENAI, kind=kind)
    gate = Gate()
    said = openai_turns.chunks(text_turn("The beginning."), "scripted", with_usage=True)
    opening = [openai_turns.sse(chunk) for chunk in said[:3]]
    openai_server.script(stream([*opening, gate]), path=CHAT_COMPLETIONS)
    with client.stream("POST", "/v1/messages", json=ASK) as answered:
        pieces = answered.iter_raw()
        seen = next(pieces)
        mortal.kill()
        seen += b"".join(pieces)
    kinds = [event.name for event in events_of(seen)]
    assert kinds[0] == "message_start"
    assert (kinds[-1], kinds.count("error")) == ("error", 1)
    assert upstream.requests == []


WAYS = [(kind, model) for kind in KINDS for model in (OPENAI, ANTHROPIC)]


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def refusing(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    litellm: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
) -> Callable[[int, str, str], None]:
    """Makes the model behind the proxy, the only one there is, refuse with a status and a text."""
    kind, model = request.param
    Route.objects.all().delete()
    proxies.lead_to(litellm, model, kind=kind)

    def refuse(status: int, named: str, text: str) -> None:
        made = openai_turns.error if model == OPENAI else answers.error
        said = made(status, named, text)
        (openai_server if model == OPENAI else upstream).answer_by(lambda request: said)

    return refuse


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
    ],
)
def test_its_refusals_come_in_the_words_of_the_messages_api(
    client: httpx.Client, refusing: Callable[[int, str, str], None], status: int, kind: str
) -> None:
    refusing(status, kind, "the reason why")
    answered = client.post("/v1/messages", json=ASK)
    error = answered.json()
    assert (answered.status_code, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert "the reason why" in error["error"]["message"]
    assert answered.headers["request-id"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_it_does_not_know_is_not_found(
    client: httpx.Client, litellm: LiteLLM, kind: str
) -> None:
    proxies.lead_to(litellm, "nobody", kind=kind)
    answered = client.post("/v1/messages", json=ASK)
    assert (answered.status_code, answered.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("kind", KINDS)
def test_a_credential_that_it_does_not_take_is_the_gateways_matter(
    client: httpx.Client, litellm: LiteLLM, kind: str
) -> None:
    Route.objects.all().delete()
    proxies.lead_to(replace(litellm, key="sk-wrong"), OPENAI, kind=kind)
    answered = client.post("/v1/messages", json=ASK)
    assert (answered.status_code, answered.json()["error"]["type"]) == (502, "api_error")
    assert "refused this gateway" in answered.json()["error"]["message"]


def test_claude_code_is_told_that_the_prompt_is_too_long(
    claude: Claude, gateway: Gateway, tapped: Tap, refusing: Callable[[int, str, str], None]
) -> None:
    refusing(400, "invalid_request_error", TOO_LONG)
    done = claude("hello", url=tapped.url, key=gateway.key)
    assert done.code == 1
    assert done.stdout.startswith("Prompt is too long")
    assert "limit 8192" in done.stdout
    assert tapped.posts == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
def test_one_error_ends_the_stream_when_the_model_behind_it_dies(
    client: httpx.Client,
    litellm: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
    kind: str,
    model: str,
) -> None:
    proxies.lead_to(litellm, model, kind=kind)
    turn = text_turn("The beginning.")
    said = openai_turns.chunks(turn, "scripted", with_usage=True)[:3]
    chunks: list[Step] = [openai_turns.sse(chunk) for chunk in said]
    openai_server.script(stream([*chunks, End.CUT]), path=CHAT_COMPLETIONS)
    upstream.script(stream([*turn.events()[:4], End.CUT]))
    events = events_of(client.post("/v1/messages", json=ASK).content)
    kinds = [event.name for event in events]
    assert kinds[0] == "message_start"
    assert (kinds[-1], kinds.count("error"), kinds.count("message_start")) == ("error", 1, 1)
