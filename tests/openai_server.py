"""A scripted OpenAI Chat Completions server on a real socket: it checks what it is sent."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests import openai_rules, openai_turns
from tests.answers import Answer, as_json
from tests.openai_turns import error
from tests.tool_loop import FAILS_WITH, UNKNOWN_TOOL, ToolLoop
from tests.turns import Turn
from tests.upstream import MODELS, Request, Upstream

CHAT_COMPLETIONS = "/v1/chat/completions"
BYTES_A_TOKEN = 4  # near enough for a window that is either far away or far exceeded


class OpenAIServer(Upstream):
    """Like Upstream, for another language. What OpenAI refuses is refused and stands in `faults`.

    What a test makes it refuse (`unknown`, the two limits) is no fault: servers differ in these.
    """

    def __init__(self, *, key: str | None = None) -> None:
        super().__init__(key=key)
        self.unknown: set[str] = set()  # see openai_rules.fault_of
        self.context_window: int | None = None  # tokens
        self.max_output_tokens: int | None = None

    def _choose(self, request: Request) -> Answer:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            text = "Incorrect API key provided."
            return error(401, "invalid_request_error", text, code="invalid_api_key")
        if (request.method, request.path) == ("POST", CHAT_COMPLETIONS):
            return self._refused(request) or self._scripted(request)
        if (request.method, request.path) == ("GET", MODELS):
            return as_json({"object": "list", "data": [self._model(it) for it in self.model_ids]})
        return error(404, "invalid_request_error", f"Invalid URL ({request.path})")

    def _scripted(self, request: Request) -> Answer:
        queued = self._scripts[CHAT_COMPLETIONS]
        return self._rendered(queued.popleft() if queued else self._responder(request), request)

    def _model(self, name: str) -> dict[str, Any]:
        created = openai_turns.CREATED
        return {"id": name, "object": "model", "created": created, "owned_by": "scripted"}

    def _refused(self, request: Request) -> Answer | None:
        body = request.json
        if fault := openai_rules.fault_of(body, unknown=()):
            self.faults.append(f"{fault.param}: {fault.message}")
        fault = fault or openai_rules.fault_of(body, unknown=self.unknown) or self._limit(request)
        if fault is None:
            return None
        kind = "invalid_request_error"
        return error(400, kind, fault.message, code=fault.code, param=fault.param)

    def _limit(self, request: Request) -> openai_rules.Fault | None:
        tokens, window = len(request.body) // BYTES_A_TOKEN, self.context_window
        if window is not None and tokens > window:
            text = (
                f"This model's maximum context length is {window} tokens. However, your messages"
                f" resulted in {tokens} tokens. Please reduce the length of the messages."
            )
            return openai_rules.Fault(text, "messages", "context_length_exceeded")
        name = "max_tokens" if "max_tokens" in request.json else "max_completion_tokens"
        asked, most = request.json.get(name, 0), self.max_output_tokens
        if most is not None and asked > most:
            text = (
                f"{name} is too large: {asked}. This model supports at most {most} completion"
                f" tokens, whereas you provided {asked}."
            )
            return openai_rules.Fault(text, name, "invalid_value")
        return None

    def _rendered(self, answer: Answer | Turn, request: Request) -> Answer:
        if isinstance(answer, Answer):
            return answer
        return openai_turns.rendered(answer, request.json)


class OpenAIToolLoop(ToolLoop):
    """The same five turns, counted by the messages of tools."""

    def __call__(self, request: Request) -> Turn | Answer:
        count = len(results_in(request))
        if count in self._turns:
            return self._turns[count]
        return error(400, "invalid_request_error", f"no turn follows {count} tool results")


def assert_the_model_was_told_all(told: list[list[str]]) -> None:
    """Five turns, and what every tool said reached the model; `told` are the results by request."""
    assert [len(results) for results in told] == [0, 1, 3, 5, 6]
    _, read, write, edit, failed, unknown = told[-1]
    assert "hi" in read
    assert "second.txt" in write
    assert "first.txt" in edit
    assert str(FAILS_WITH) in failed
    assert UNKNOWN_TOOL in unknown


def results_in(request: Request) -> list[str]:
    """What every tool has said in the conversation, oldest first."""
    return [text_of(it) for it in request.json["messages"] if it["role"] == "tool"]


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, however it is written down."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """A scripted OpenAI server that takes any credential. The test fails if it was sent a fault."""
    with OpenAIServer() as server:
        yield server
    assert server.faults == []
