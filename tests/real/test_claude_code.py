"""Claude Code, the real one, works through the gateway and notices nothing."""

import json
from typing import Any

import pytest

from billing.models import UsageRecord
from proxy import models
from proxy.models import Route
from tests import gateway as gateways
from tests.answers import End, Pause, error, gone, stream
from tests.conftest import lead_to
from tests.real import peers, programs
from tests.real.conftest import TOOLS, Claude, Gateway
from tests.real.tap import Tap
from tests.tool_loop import DONE, FAILS_WITH, UNKNOWN_TOOL, ToolLoop, results_in
from tests.turns import Turn, text_turn, thinking_turn, tool_turn
from tests.upstream import Request, Upstream

pytestmark = pytest.mark.real

RETRY_AFTER_S = 1
FORWARDED = (
    "anthropic-version",
    "anthropic-beta",
    "user-agent",
    "x-claude-code-session-id",
    "x-app",
)


def test_it_answers_a_prompt(claude: Claude, gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(text_turn("Good morning, 世界."))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout, done.stderr) == (0, "Good morning, 世界.\n", "")
    assert len(upstream.requests) == 1


def test_it_hands_on_what_the_client_sent(
    claude: Claude, gateway: Gateway, upstream: Upstream, tapped: Tap
) -> None:
    done = claude("hello", url=tapped.url, key=gateway.key)
    assert done.code == 0
    [request] = upstream.requests
    assert (request.method, request.path, request.query) == ("POST", "/v1/messages", "beta=true")
    assert tapped.posts == 1
    assert tapped.carried(request.body), "the body was changed on its way"
    for name in FORWARDED:
        assert tapped.carried_header(name, request.headers[name]), f"{name} was changed on its way"


@pytest.mark.parametrize("suffix", ["", "/v1"])
def test_it_finishes_a_loop_of_five_turns(
    claude: Claude, gateway: Gateway, upstream: Upstream, suffix: str
) -> None:
    upstream.answer_by(ToolLoop(str(claude.folder)))
    done = claude("do the work", url=gateway.url + suffix, key=gateway.key)
    assert (done.code, done.stdout) == (0, f"{DONE}\n"), done.stderr
    assert (claude.folder / "first.txt").read_text() == "hello\n"
    assert (claude.folder / "second.txt").read_text() == "written\n"
    assert_it_told_all(upstream.requests)


def assert_it_told_all(requests: list[Request]) -> None:
    """Five turns, and every tool result reached the model."""
    assert [len(results_in(request)) for request in requests] == [0, 1, 3, 5, 6]
    bash, read, write, edit, failed, unknown = results_in(requests[-1])
    assert "hi" in read["content"]
    assert [bool(result.get("is_error")) for result in (bash, read, write, edit)] == [False] * 4
    assert (failed["is_error"], str(FAILS_WITH) in failed["content"]) == (True, True)
    assert (unknown["is_error"], UNKNOWN_TOOL in unknown["content"]) == (True, True)


def test_it_stops_at_once_without_a_good_key(claude: Claude, tapped: Tap) -> None:
    done = claude("hello", url=tapped.url, key="not-a-key")
    assert done.code == 1
    assert "API Error: 401" in done.stdout
    assert tapped.posts == 1


def test_it_waits_as_long_as_the_upstream_asks(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    wait = {"retry-after": str(RETRY_AFTER_S)}
    upstream.script(error(429, "rate_limit_error", "slow down", headers=wait), text_turn("later"))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "later\n")
    first, second = upstream.requests
    assert second.at - first.at >= RETRY_AFTER_S


def test_it_survives_an_upstream_that_dies_before_the_first_byte(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(gone(), text_turn("second try"))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "second try\n")
    assert len(upstream.requests) == 2


def test_it_survives_an_upstream_that_dies_in_mid_stream(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    opening = text_turn("never to be finished").events()[:4]
    upstream.script(stream([*opening, End.CUT]), text_turn("once more"))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "once more\n")
    assert len(upstream.requests) == 2


def test_it_is_served_without_streaming_too(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    failure = {"type": "error", "error": {"type": "api_error", "message": "no stream today"}}
    # The pause lets the first block out: an error before it would become an HTTP status.
    broken = stream([*text_turn("never whole").events()[:4], Pause(0.5), failure])
    upstream.answer_by(lambda request: broken if request.streaming else text_turn("in one piece"))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "in one piece\n")
    assert not upstream.requests[-1].streaming
    assert all(request.streaming for request in upstream.requests[:-1])


def closed_rows() -> list[UsageRecord]:
    """Every row of the ledger, once all are closed."""
    gateways.eventually(lambda: not UsageRecord.objects.filter(state="admitted").exists())
    return list(UsageRecord.objects.order_by("admitted_at"))


def test_it_runs_the_tools_that_the_demo_asks_for(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    demo = models.Upstream.objects.create(name="demo", kind="demo")
    Route.objects.create(pattern="*", upstream=demo, position=1)
    done = claude("demo:tools", url=gateway.url, key=gateway.key)
    assert done.code == 0, done.stdout
    assert "2 tool results came back" in done.stdout
    assert "Hello from the demo upstream" in done.stdout
    rows = closed_rows()
    assert [(row.state, row.upstream) for row in rows] == [("completed", "demo")] * 2
    assert [row.stop_reason for row in rows] == ["tool_use", "end_turn"]
    assert upstream.requests == []


def test_it_keeps_whose_agent_asked(claude: Claude, gateway: Gateway, upstream: Upstream) -> None:
    errand = {"description": "An errand", "prompt": "go", "subagent_type": "general-purpose"}

    def answer(request: Request) -> Turn:
        if "x-claude-code-agent-id" in request.headers:
            return text_turn("The errand is done.")
        return text_turn("All done.") if results_in(request) else tool_turn(("Agent", errand))

    upstream.answer_by(answer)
    done = claude("send an agent", url=gateway.url, key=gateway.key)
    assert (done.code, set(done.stdout.split("\n"))) == (0, {"All done.", ""})
    # The agent works beside the main conversation, so the order of the two is not fixed.
    written = sorted((row.session_id, row.agent_id) for row in closed_rows())
    asked = sorted(
        (r.headers["x-claude-code-session-id"], r.headers.get("x-claude-code-agent-id", ""))
        for r in upstream.requests
    )
    assert written == asked
    assert len({session for session, _ in written}) == 1
    assert len([agent for _, agent in written if agent]) == 1


def test_it_shows_the_model_that_was_asked_for_behind_a_mapped_route(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    lead_to(upstream.url, pattern="claude-team", target_model="qwen3:8b", position=1)
    upstream.script(thinking_turn("Hm.", "Hello."))
    lines = told(claude, gateway, "--model", "claude-team")
    said = [line["message"] for line in lines if line["type"] == "assistant"]
    assert {message["model"] for message in said} == {"claude-team"}
    # It drops the thinking of an answer that carries another name.
    assert [b["type"] for message in said for b in message["content"]] == ["thinking", "text"]
    assert "qwen" not in json.dumps(lines)
    assert {request.json["model"] for request in upstream.requests} == {"qwen3:8b"}


def told(claude: Claude, gateway: Gateway, *options: str) -> list[dict[str, Any]]:
    """What Claude Code tells a program that runs it."""
    done = programs.run(
        [
            peers.NODE / "node_modules" / ".bin" / "claude",
            *("-p", "hello", "--output-format", "stream-json", "--verbose", *options),
            *("--allowedTools", TOOLS),
        ],
        folder=claude.folder,
        environment={
            "HOME": str(claude.home),
            "CLAUDE_CONFIG_DIR": str(claude.home / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": gateway.key,
        },
        within_s=programs.PROGRAM_S,
    )
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
