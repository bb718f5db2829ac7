"""Claude Code, the real one, on a server that speaks Chat Completions and is strict."""

import pytest

from billing.models import UsageRecord
from proxy import models
from proxy.models import Route
from tests.openai_server import (
    CHAT_COMPLETIONS,
    OpenAIServer,
    OpenAIToolLoop,
    assert_the_model_was_told_all,
    results_in,
)
from tests.openai_turns import error
from tests.real.conftest import Claude, Gateway
from tests.real.tap import Tap
from tests.real.test_claude_code import told
from tests.tool_loop import DONE, call
from tests.turns import Turn, text_turn, thinking_turn, tool_turn
from tests.upstream import Request

pytestmark = pytest.mark.real

STRICT = {"schema.$schema", "schema.$id", "parallel_tool_calls", "seed"}
THOUGHT = "I had better look."
TOO_LONG = error(
    400,
    "invalid_request_error",
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000"
    " tokens. Please reduce the length of the messages.",
    code="context_length_exceeded",
)


@pytest.fixture(autouse=True)
def route(gateway: Gateway, openai_server: OpenAIServer) -> Route:
    """Every model leads to the scripted OpenAI server."""
    row = models.Upstream.objects.create(name="openai", kind="openai", base_url=openai_server.url)
    return Route.objects.create(pattern="*", upstream=row, target_model="gpt-x", position=1)


def thoughtful() -> Turn:
    """A turn that thinks and then calls a tool."""
    thought, *_ = thinking_turn(THOUGHT, "").blocks
    [opening] = tool_turn(call("Bash", command="echo seen")).blocks
    return Turn(blocks=(thought, opening), stop_reason="tool_use")


def test_it_finishes_a_loop_of_five_turns(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer
) -> None:
    openai_server.unknown |= STRICT
    openai_server.answer_by(OpenAIToolLoop(str(claude.folder)))
    done = claude("do the work", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout, done.stderr) == (0, f"{DONE}\n", "")
    assert (claude.folder / "first.txt").read_text() == "hello\n"
    assert (claude.folder / "second.txt").read_text() == "written\n"
    assert_the_model_was_told_all([results_in(request) for request in openai_server.requests])
    assert {request.json["model"] for request in openai_server.requests} == {"gpt-x"}


@pytest.mark.parametrize(
    "name", ["max_tokens", "stream_options", "reasoning_effort", "messages.reasoning_content"]
)
def test_it_does_without_what_the_server_does_not_know(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer, name: str
) -> None:
    openai_server.unknown |= {name}
    turn = thoughtful()
    openai_server.answer_by(lambda r: text_turn("Seen.") if results_in(r) else turn)
    done = claude("do the work", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "Seen.\n"), done.stderr
    assert UsageRecord.objects.count() == 2, "the client had to ask again"


def test_it_hands_back_what_the_model_thought_before_its_call(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer
) -> None:
    turn = thoughtful()
    openai_server.answer_by(lambda r: text_turn("Seen.") if results_in(r) else turn)
    lines = told(claude, gateway)
    said = [line["message"] for line in lines if line["type"] == "assistant"]
    kinds = [block["type"] for message in said for block in message["content"]]
    assert kinds == ["thinking", "tool_use", "text"]
    messages = openai_server.requests[-1].json["messages"]
    [spoken] = [message for message in messages if message["role"] == "assistant"]
    assert spoken["reasoning_content"] == THOUGHT
    assert spoken["tool_calls"][0]["function"]["name"] == "Bash"


def test_it_offers_a_deferred_tool_once_the_model_has_found_it(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer
) -> None:
    search = tool_turn(("ToolSearch", {"query": "select:WebFetch", "max_results": 1}))
    openai_server.answer_by(lambda r: text_turn("Found.") if results_in(r) else search)
    done = claude("find a tool", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "Found.\n"), done.stderr
    before, after = (tools_of(request) for request in openai_server.requests)
    assert "ToolSearch" in before
    assert "DeferredToolPlaceholder" not in before | after
    assert after - before == {"WebFetch"}
    assert "WebFetch" in results_in(openai_server.requests[-1])[0]


def tools_of(request: Request) -> set[str]:
    return {tool["function"]["name"] for tool in request.json["tools"]}


def test_it_asks_for_no_longer_an_answer_than_the_server_gives(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer, route: Route
) -> None:
    models.Upstream.objects.filter(pk=route.upstream_id).update(max_output_tokens=8192)
    openai_server.max_output_tokens = 8192
    openai_server.script(text_turn("In time."), path=CHAT_COMPLETIONS)
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "In time.\n"), done.stderr
    assert len(openai_server.requests) == 1


def test_it_says_so_when_the_first_prompt_does_not_fit(
    claude: Claude, gateway: Gateway, tapped: Tap, openai_server: OpenAIServer
) -> None:
    openai_server.context_window = 5_000
    done = claude("hello", url=tapped.url, key=gateway.key)
    assert done.code == 1
    assert done.stdout.startswith("Prompt is too long")
    assert "limit 5000" in done.stdout
    assert tapped.posts == 1


def test_it_compacts_a_conversation_that_no_longer_fits(
    claude: Claude, gateway: Gateway, openai_server: OpenAIServer
) -> None:
    (claude.folder / "large.txt").write_text("0123456789 abcdefghij\n" * 1500)
    look = tool_turn(call("Read", file_path=str(claude.folder / "large.txt")))
    openai_server.script(look, TOO_LONG, path=CHAT_COMPLETIONS)
    openai_server.answer_by(lambda request: text_turn("Going on."))
    done = claude("read it", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "Going on.\n"), done.stderr
    bodies = [request.body for request in openai_server.requests]
    assert len(set(bodies)) == len(bodies), "something was asked twice"
    _, refused, *_, last = map(len, bodies)
    assert last < refused - (claude.folder / "large.txt").stat().st_size
