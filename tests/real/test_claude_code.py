"""Claude Code, the real one, works through the gateway and notices nothing."""

import pytest

from tests.answers import End, error, gone, stream
from tests.real.conftest import Claude, Gateway
from tests.real.tap import Tap
from tests.tool_loop import DONE, FAILS_WITH, UNKNOWN_TOOL, ToolLoop, results_in
from tests.turns import text_turn
from tests.upstream import Request, Upstream

pytestmark = pytest.mark.real

AT_ONCE_S = 20.0  # the client's whole schedule of retries takes 180 s; one request takes 1 s
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
    done = claude("hello", url=tapped.url, key="not-a-key", within_s=AT_ONCE_S)
    assert done.code == 1
    assert "API Error: 401" in done.stdout
    assert tapped.posts == 1


def test_it_waits_as_long_as_the_upstream_asks(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    wait = {"retry-after": str(RETRY_AFTER_S)}
    upstream.script(error(429, "rate_limit_error", "slow down", headers=wait), text_turn("later"))
    done = claude("hello", url=gateway.url, key=gateway.key, within_s=AT_ONCE_S)
    assert (done.code, done.stdout) == (0, "later\n")
    first, second = upstream.requests
    assert second.at - first.at >= RETRY_AFTER_S


def test_it_survives_an_upstream_that_dies_before_the_first_byte(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(gone(), text_turn("second try"))
    done = claude("hello", url=gateway.url, key=gateway.key, within_s=AT_ONCE_S)
    assert (done.code, done.stdout) == (0, "second try\n")
    assert len(upstream.requests) == 2


def test_it_survives_an_upstream_that_dies_in_mid_stream(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    opening = text_turn("never to be finished").events()[:4]
    upstream.script(stream([*opening, End.CUT]), text_turn("once more"))
    done = claude("hello", url=gateway.url, key=gateway.key, within_s=AT_ONCE_S)
    assert (done.code, done.stdout) == (0, "once more\n")
    assert len(upstream.requests) == 2


def test_it_is_served_without_streaming_too(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    broken = {"type": "error", "error": {"type": "api_error", "message": "no stream today"}}
    upstream.answer_by(
        lambda request: stream([broken]) if request.streaming else text_turn("in one piece")
    )
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "in one piece\n")
    assert not upstream.requests[-1].streaming
    assert all(request.streaming for request in upstream.requests[:-1])
