"""What both official SDKs are promised; each language has a test class that inherits these."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Pause, error, stream
from tests.real.conftest import Gateway, RunScript
from tests.turns import text_turn, thinking_turn, tool_turn, usage
from tests.upstream import COUNT_TOKENS, COUNTED_TOKENS, MESSAGES, Upstream

BETA = "context-management-2025-06-27"
WITH_CACHE = usage(input_tokens=11, output_tokens=42, cache_read=1000, cache_creation=200)
TOOLS = tool_turn(("Read", {"path": "ä.txt", "lines": [1, 2]}), ("List", {}), text="Looking.")
BEGUN = Pause(0.5)  # the client has the first block; an error before would be an HTTP status
DO_NOT_RETRY = {"x-should-retry": "false"}

REFUSALS = [
    (400, "invalid_request_error", "BadRequestError"),
    (403, "permission_error", "PermissionDeniedError"),
    (413, "request_too_large", "ContentTooLargeError"),
    (429, "rate_limit_error", "RateLimitError"),
    (500, "api_error", "InternalServerError"),
    (529, "overloaded_error", "OverloadedError"),
]


class Promises:
    """Subclasses say which script speaks for the language, and give the fixture `sdk` to run it."""

    script: Path

    def ask(
        self, sdk: RunScript, gateway: Gateway, *calls: str, key: str = ""
    ) -> list[dict[str, Any]]:
        environment = {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": key or gateway.key}
        done = sdk(self.script, *calls, environment=environment)
        assert done.code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_it_creates_a_message(
        self, sdk: RunScript, gateway: Gateway, upstream: Upstream
    ) -> None:
        turn = text_turn("Grüße, 世界", cost=WITH_CACHE)
        upstream.script(turn)
        [told] = self.ask(sdk, gateway, "create")
        assert told["message"] == turn.message()
        assert told["request_id"]

    @pytest.mark.parametrize("call", ["stream", "beta_stream"])
    @pytest.mark.parametrize(
        "turn",
        [thinking_turn("Hm, 你好.", "Done.", cost=WITH_CACHE), TOOLS],
        ids=["thinking", "tools"],
    )
    def test_it_streams_a_message(
        self, sdk: RunScript, gateway: Gateway, upstream: Upstream, call: str, turn: Any
    ) -> None:
        upstream.script(turn)
        [told] = self.ask(sdk, gateway, call)
        message = turn.message()
        assert {name: told["message"][name] for name in message} == message
        assert told["request_id"]
        assert (told["kinds"][0], told["kinds"][-1]) == ("message_start", "message_stop")
        [request] = upstream.sent_to(MESSAGES)
        assert (BETA in request.headers.get("anthropic-beta", "")) == (call == "beta_stream")

    def test_it_counts_tokens(self, sdk: RunScript, gateway: Gateway, upstream: Upstream) -> None:
        [told] = self.ask(sdk, gateway, "count_tokens")
        assert told["input_tokens"] == COUNTED_TOKENS
        assert told["request_id"]
        assert len(upstream.sent_to(COUNT_TOKENS)) == 1

    def test_it_pages_through_the_models(self, sdk: RunScript, gateway: Gateway) -> None:
        listed, found = self.ask(sdk, gateway, "models", "model")
        ids, sizes = listed["ids"], listed["sizes"]
        assert len(set(ids)) == len(ids) == sum(sizes) > 0
        assert sizes == [2] * (len(ids) // 2) + [1] * (len(ids) % 2)
        assert found["id"] == ids[0]
        assert found["display_name"]
        assert found["request_id"]

    def test_it_does_not_find_what_is_not_there(self, sdk: RunScript, gateway: Gateway) -> None:
        for told in self.ask(sdk, gateway, "unknown_model", "unknown_path"):
            assert (told["error"], told["status"]) == ("NotFoundError", 404)
            assert told["type"] == "not_found_error"
            assert told["request_id"]

    def test_it_refuses_a_wrong_key(
        self, sdk: RunScript, gateway: Gateway, upstream: Upstream
    ) -> None:
        [told] = self.ask(sdk, gateway, "create", key="not-a-key")
        assert (told["error"], told["status"]) == ("AuthenticationError", 401)
        assert told["type"] == "authentication_error"
        assert told["request_id"]

    @pytest.mark.parametrize(
        ("status", "kind", "name"), REFUSALS, ids=[name for *_, name in REFUSALS]
    )
    def test_it_hands_on_refusals(
        self,
        sdk: RunScript,
        gateway: Gateway,
        upstream: Upstream,
        status: int,
        kind: str,
        name: str,
    ) -> None:
        refusal = error(status, kind, "messages.0: because", headers=DO_NOT_RETRY)
        upstream.answer_by(lambda request: refusal)
        [told] = self.ask(sdk, gateway, "create")
        assert (told["error"], told["status"], told["type"]) == (name, status, kind)
        assert "messages.0: because" in told["message"]
        assert told["request_id"]
        assert len(upstream.requests) == 1, "nobody may retry what the upstream called final"

    def test_it_tells_of_a_stream_that_failed(
        self, sdk: RunScript, gateway: Gateway, upstream: Upstream
    ) -> None:
        opening = text_turn().events()[:4]
        failure = {"type": "overloaded_error", "message": "Overloaded"}
        upstream.script(stream([*opening, BEGUN, {"type": "error", "error": failure}]))
        [told] = self.ask(sdk, gateway, "stream")
        assert told["type"] == "overloaded_error"
        assert len(upstream.requests) == 1
