"""A scripted Unicorn Brigade on a real socket: it checks what it is sent, in every dialect.

Written from facts about Brigade and not from Brigade itself, which is not public and cannot be had
here: what its callers send and read, endpoint by endpoint. Where they say nothing, it is strict in
what it takes, and what a real one does is unknown.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.aliases import AGENTS
from tests import openai_rules, openai_turns
from tests.answers import Answer, Step, as_json
from tests.turns import Turn
from tests.upstream import Request, Upstream

ALL = frozenset({"tasks", "openai", "chat", "a2a"})
COMPLETIONS = "/api/v1/chat/completions"
CHAT_USAGE = {"input_tokens": 25, "output_tokens": 15}


class Brigade(Upstream):
    """Like Upstream, for a Brigade that speaks `dialects`.

    What no caller of Brigade's would send is refused and stands in `faults`. `key` is shown as
    X-API-Key, `bearer` as Authorization.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        bearer: str | None = None,
        dialects: frozenset[str] = ALL,
        health: int = 200,
    ) -> None:
        super().__init__(key=key)
        self.bearer = bearer
        self.dialects = dialects
        self.health = health
        self.agents = set(AGENTS)
        self.turns: deque[Turn | Answer | Callable[[Request], Answer]] = deque()

    def say(self, *turns: Turn | Answer | Callable[[Request], Answer]) -> None:
        """Queue what is answered next, in whichever dialect it is asked."""
        self.turns.extend(turns)

    @property
    def asked(self) -> list[Request]:
        """The requests that were to be worked on, without those that only look what is there."""
        return [r for r in self.requests if r.method == "POST" and r.body != b"{}"]

    def _choose(self, request: Request) -> Answer:
        if request.method == "GET":
            return self._looked_at(request.path)
        found = self._dialect_of(request.path)
        if request.method != "POST" or found is None:
            return detail(404, "Not Found")
        dialect, agent = found
        if refused := self._unwanted(request):
            return refused
        if request.body == b"{}":
            return detail(422, [{"loc": ["body", "message"], "msg": "Field required"}])
        if agent is not None and agent not in self.agents:
            return detail(404, f"Agent {agent} not found")
        fault = self._fault(dialect, request.json)
        if fault:
            self.faults.append(f"{request.path}: {fault}")
            return detail(422, fault)
        return self._said(dialect, request)

    def _looked_at(self, path: str) -> Answer:
        if path == "/health" and self.health:
            return as_json({"status": "healthy"}, status=self.health)
        if path == "/":
            return as_json({"name": "Unicorn Brigade"})
        if path == "/api/v1/a2a/agents" and "a2a" in self.dialects:
            return as_json({"agents": [{"id": one} for one in sorted(self.agents)]})
        return detail(404, "Not Found")

    def _dialect_of(self, path: str) -> tuple[str, str | None] | None:
        """The dialect of a path, and the agent that it names."""
        found: tuple[str, str | None] | None = None
        match path.split("/")[1:]:
            case ["api", "v1", "chat", "completions"]:
                found = "openai", None
            case ["api", "tasks"] | ["api", "tasks", "stream"]:
                found = "tasks", None
            case ["api", "v1", "agents", agent, "chat"]:
                found = "chat", agent
            case ["api", "v1", "a2a", "agents", agent, "invoke"]:
                found = "a2a", agent
        return found if found and found[0] in self.dialects else None

    def _unwanted(self, request: Request) -> Answer | None:
        if self.key and request.headers.get("x-api-key") != self.key:
            return detail(401, "Invalid API key")
        if self.bearer and request.headers.get("authorization") != f"Bearer {self.bearer}":
            return detail(401, "Could not validate credentials")
        return None

    def _fault(self, dialect: str, body: dict[str, Any]) -> str:
        if dialect == "openai":
            fault = openai_rules.fault_of(body, unknown=())
            return f"{fault.param}: {fault.message}" if fault else ""
        return FAULTS[dialect](body)

    def _said(self, dialect: str, request: Request) -> Answer:
        turn = self.turns.popleft() if self.turns else None
        if isinstance(turn, Answer):
            return turn
        if callable(turn):
            return turn(request)
        turn = turn or Turn(blocks=({"type": "text", "text": "At your service."},))
        return SAID[dialect](turn, request)


def detail(status: int, text: object) -> Answer:
    """A refusal as FastAPI says it."""
    return as_json({"detail": text}, status=status)


def lines(*parts: dict[str, Any] | bytes | Step) -> Answer:
    """Server-sent events without names, each one write."""
    steps = tuple(
        f"data: {json.dumps(part)}\n\n".encode() if isinstance(part, dict) else part
        for part in parts
    )
    return Answer(steps=steps, headers={"content-type": "text/event-stream"})


DONE = b"data: [DONE]\n\n"


def text_of(turn: Turn) -> str:
    return "".join(block["text"] for block in turn.blocks if block["type"] == "text")


def _chat_fault(body: dict[str, Any]) -> str:
    if not isinstance(body.get("message"), str) or not body["message"]:
        return "message: Field required"
    if not isinstance(body.get("stream"), bool):
        return "stream: a boolean"
    unknown = set(body) - {"message", "stream", "history"}
    fault = f"unknown: {sorted(unknown)}" if unknown else ""
    return fault or _texts_fault(body.get("history", ()))


def _chat(turn: Turn, request: Request) -> Answer:
    text = text_of(turn)
    if not request.json["stream"]:
        told = {"content": text, "model": "qwen", "provider": "local", "usage": CHAT_USAGE}
        return as_json(told)
    middle = len(text) // 2
    return lines(
        {"type": "start", "agent": "General", "model": "qwen", "tools": []},
        {"type": "token", "content": text[:middle]},
        {"type": "token", "content": text[middle:]},
        {"type": "complete", "content": text, "model": "qwen", "toolCalls": [], "tokens": 40},
        DONE,
    )


def _texts_fault(history: Any) -> str:
    for one in history:
        if set(one) != {"role", "content"} or one["role"] not in {"user", "assistant"}:
            return "history: role and content"
        if not isinstance(one["content"], str):
            return "history: content is a string"
    return ""


def _a2a_fault(body: dict[str, Any]) -> str:
    if not isinstance(body.get("task"), str) or not body["task"]:
        return "task: Field required"
    if not isinstance(body.get("context", ""), str):
        return "context: a string"
    unknown = set(body) - {"task", "context", "conversation_history"}
    return _texts_fault(body.get("conversation_history", ())) or (
        f"unknown: {sorted(unknown)}" if unknown else ""
    )


def _a2a(turn: Turn, request: Request) -> Answer:
    said = {"status": "completed", "result": {"content": text_of(turn)}, "error": None}
    return as_json(said | {"model_used": "qwen", "duration_seconds": 1.5, "output_data": {}})


_TASK = {
    "task_id": str,
    "task_type": str,
    "user_id": str,
    "context": dict,
    "agents": list,
    "tools": list,
    "mcp_servers": list,
    "user_config": dict,
    "llm_config": dict,
    "metadata": dict,
}
_TOOL = {"name", "description", "parameters", "required", "type"}
_TASK_TYPES = {"code_generation", "code_review", "debugging", "system_design", "documentation"}
_BLOCKS = {
    "text": {"type", "text"},
    "tool_call": {"type", "id", "name", "input"},
    "tool_result": {"type", "tool_use_id", "content"},
}


def _task_fault(body: dict[str, Any]) -> str:
    if missing := [n for n, kind in _TASK.items() if not isinstance(body.get(n), kind)]:
        return f"{missing[0]}: Field required"
    if unknown := set(body) - set(_TASK) - {"execution_server", "stream", "callback"}:
        return f"unknown: {sorted(unknown)}"
    if body["task_type"] not in _TASK_TYPES | {"general"}:
        return "task_type: unknown"
    if set(body["metadata"]) != {"anthropic_request_id", "timestamp", "stream"}:
        return "metadata: three fields"
    if not isinstance(body["context"].get("system_prompt"), str):
        return "context.system_prompt: Field required"
    if any(set(tool) - {"server"} != _TOOL for tool in body["tools"]):
        return "tools: fields"
    return _history_fault(body["context"]["conversation_history"])


def _history_fault(history: list[dict[str, Any]]) -> str:
    for turn in history:
        if set(turn) != {"role", "content", "timestamp"}:
            return "conversation_history: fields"
        for block in turn["content"]:
            if set(block) != _BLOCKS.get(block["type"]):
                return f"conversation_history: {block}"
    return ""


def task_of(turn: Turn, status: str = "completed") -> dict[str, Any]:
    """A finished task."""
    calls = [b for b in turn.blocks if b["type"] == "tool_use"]
    told = [{"id": f"c{n}", "name": b["name"], "input": b["input"]} for n, b in enumerate(calls)]
    return {
        "task_id": "task_0123456789abcdef",
        "status": "max_tokens" if turn.stop_reason == "max_tokens" else status,
        "result": {"content": text_of(turn), "tool_calls": told, "stop_sequence": None},
        "usage": {"input_tokens": 25, "output_tokens": 15},
    }


def _task(turn: Turn, request: Request) -> Answer:
    if not request.json.get("stream"):
        return as_json(task_of(turn))
    if any(block["type"] == "tool_use" for block in turn.blocks):
        return lines(task_of(turn))
    text = text_of(turn)
    middle = len(text) // 2
    return lines(
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "text": text[:middle]},
        {"type": "content_block_delta", "delta": {"text": text[middle:]}},
        {"type": "message_stop", "usage": {"input_tokens": 25, "output_tokens": 15}},
        DONE,
    )


FAULTS = {"chat": _chat_fault, "a2a": _a2a_fault, "tasks": _task_fault}
SAID = {
    "openai": lambda turn, request: openai_turns.rendered(turn, request.json),
    "chat": _chat,
    "a2a": _a2a,
    "tasks": _task,
}


@pytest.fixture
def brigade() -> Iterator[Brigade]:
    """A Brigade that takes any credential. The test fails if it was sent a fault."""
    with Brigade() as server:
        yield server
    assert server.faults == []
