"""LiteLLM's proxy, the real one, between the gateway and a model: nobody notices it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing.models import UsageRecord
from tests.openai_server import OpenAIServer, OpenAIToolLoop, assert_the_model_was_told_all
from tests.openai_server import results_in as openai_results_in
from tests.real import litellm as proxies
from tests.real.conftest import Claude, Gateway, RunScript
from tests.real.litellm import ANTHROPIC, OPENAI, LiteLLM
from tests.real.test_claude_code import assert_it_told_all, told
from tests.real.test_claude_code_openai import THOUGHT, thoughtful
from tests.tool_loop import DONE, ToolLoop, results_in
from tests.turns import Turn, text_turn, thinking_turn, tool_turn, usage
from tests.upstream import COUNTED_TOKENS, Request, Upstream

pytestmark = pytest.mark.real

WAYS = [
    ("compatible", OPENAI),
    ("compatible", ANTHROPIC),
    ("openai", OPENAI),
    ("openai", ANTHROPIC),
]
SDK = Path(__file__).parent / "sdk" / "ask.py"
SHOWN = {"type", "name", "input", "text", "thinking"}
COST = usage(input_tokens=1234, output_tokens=56)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the gateway reaches the scripted model."""

    kind: str
    model: str
    server: Upstream


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def way(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    litellm: LiteLLM,
    upstream: Upstream,
    openai_server: OpenAIServer,
) -> Way:
    kind, model = request.param
    proxies.lead_to(litellm, model, kind=kind)
    return Way(kind=kind, model=model, server=openai_server if model == OPENAI else upstream)


def test_claude_code_finishes_a_loop_of_five_turns(
    claude: Claude, gateway: Gateway, way: Way
) -> None:
    folder = str(claude.folder)
    way.server.answer_by(OpenAIToolLoop(folder) if way.model == OPENAI else ToolLoop(folder))
    done = claude("do the work", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, f"{DONE}\n"), done.stderr
    assert (claude.folder / "first.txt").read_text() == "hello\n"
    assert (claude.folder / "second.txt").read_text() == "written\n"
    assert_the_model_was_told_all([texts_of_results(it, way) for it in way.server.requests])
    if (way.kind, way.model) == ("compatible", ANTHROPIC):
        assert_it_told_all(way.server.requests)  # which of them failed, too: others cannot say it


def texts_of_results(request: Request, way: Way) -> list[str]:
    if way.model == OPENAI:
        return openai_results_in(request)
    return [json.dumps(result["content"]) for result in results_in(request)]


def test_claude_code_goes_on_after_a_call_that_was_thought_about(
    claude: Claude, gateway: Gateway, way: Way
) -> None:
    turn = thoughtful()
    way.server.answer_by(
        lambda request: text_turn("Seen.") if texts_of_results(request, way) else turn
    )
    done = claude("have a look", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "Seen.\n"), done.stderr
    assert UsageRecord.objects.count() == 2, "the client had to ask again"
    messages = way.server.requests[-1].json["messages"]
    [spoken] = [message for message in messages if message["role"] == "assistant"]
    if way.model == OPENAI:
        assert spoken["reasoning_content"] == THOUGHT
    elif way.kind == "compatible":
        assert spoken["content"][0] == turn.blocks[0], "signed thinking goes back as it came"


def test_claude_code_shows_thinking_and_the_name_that_was_asked_for(
    claude: Claude, gateway: Gateway, way: Way
) -> None:
    way.server.answer_by(lambda request: thinking_turn("Hm, 你好.", "Hello."))
    said = [line["message"] for line in told(claude, gateway) if line["type"] == "assistant"]
    assert {message["model"] for message in said} == {"claude-opus-5-5"}
    assert [b["type"] for message in said for b in message["content"]] == ["thinking", "text"]


@pytest.mark.parametrize(
    "turn",
    [
        text_turn("Grüße, 世界", cost=COST),
        thinking_turn("Hm, 你好.", "Done.", cost=COST),
        tool_turn(("Read", {"path": "ä.txt", "lines": [1, 2]}), ("List", {}), cost=COST),
    ],
    ids=["text", "thinking", "tools"],
)
def test_the_sdk_reads_what_the_model_said(
    python_sdk: RunScript, gateway: Gateway, way: Way, turn: Turn
) -> None:
    way.server.answer_by(lambda request: turn)
    for answered in asked(python_sdk, gateway, "create", "stream", "beta_stream"):
        message = answered["message"]
        assert [shown(block) for block in message["content"]] == [shown(it) for it in turn.blocks]
        assert (message["stop_reason"], message["model"]) == (turn.stop_reason, "claude-opus-5-5")
        assert message["usage"]["input_tokens"] == COST["input_tokens"]
        assert message["usage"]["output_tokens"] == COST["output_tokens"]


def shown(block: dict[str, Any]) -> dict[str, Any]:
    """A block without what differs on every way: ids and signatures."""
    return {name: block[name] for name in block.keys() & SHOWN}


def test_the_sdk_counts_tokens_and_lists_the_models(
    python_sdk: RunScript, gateway: Gateway, way: Way
) -> None:
    counted, listed = asked(python_sdk, gateway, "count_tokens", "models")
    if (way.kind, way.model) == ("compatible", ANTHROPIC):
        assert counted["input_tokens"] == COUNTED_TOKENS
    else:
        assert 0 < counted["input_tokens"] < 100
    assert "claude-opus-5-5" in listed["ids"]


def asked(sdk: RunScript, gateway: Gateway, *calls: str) -> list[dict[str, Any]]:
    environment = {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": gateway.key}
    done = sdk(SDK, *calls, environment=environment)
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
