"""The turns of tests/turns.py as an OpenAI Chat Completions server says them."""

import json
from collections.abc import Iterator
from typing import Any

from tests.answers import Answer, as_json, stream
from tests.turns import Block, Turn

Chunk = dict[str, Any]

CREATED = 1_790_000_000
FINISH_REASONS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
DONE = b"data: [DONE]\n\n"


def usage_of(turn: Turn) -> dict[str, Any]:
    """What the turn cost; the prompt counts what a cache held, too."""
    cost = turn.usage
    cached, written = cost["cache_read_input_tokens"], cost["cache_creation_input_tokens"]
    prompt = cost["input_tokens"] + cached + written
    return {
        "prompt_tokens": prompt,
        "completion_tokens": cost["output_tokens"],
        "total_tokens": prompt + cost["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def completion(turn: Turn, model: str) -> dict[str, Any]:
    """The turn as one `chat.completion`."""
    message: dict[str, Any] = {"role": "assistant", "content": _text_of(turn)}
    if thinking := "".join(b["thinking"] for b in turn.blocks if b["type"] == "thinking"):
        message["reasoning_content"] = thinking
    if calls := [call_of(block) for block in turn.blocks if block["type"] == "tool_use"]:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": FINISH_REASONS[turn.stop_reason]}
    head = _head(turn, model, "chat.completion")
    return head | {"choices": [choice], "usage": usage_of(turn)}


def chunks(turn: Turn, model: str, *, with_usage: bool) -> list[Chunk]:
    """The turn as `chat.completion.chunk`s, every text and every call in pieces."""
    head = _head(turn, model, "chat.completion.chunk") | ({"usage": None} if with_usage else {})
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        *((delta, None) for delta in _deltas(turn)),
        ({}, FINISH_REASONS[turn.stop_reason]),
    ]
    told = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    return [*told, head | {"choices": [], "usage": usage_of(turn)}] if with_usage else told


def sse(chunk: Chunk) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


def rendered(turn: Turn, asked: dict[str, Any]) -> Answer:
    """The answer that this request asks for: streamed or whole, with its usage or without."""
    model = asked["model"]
    if not asked.get("stream"):
        return as_json(completion(turn, model))
    with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
    return stream([*map(sse, chunks(turn, model, with_usage=with_usage)), DONE])


def call_of(block: Block) -> dict[str, Any]:
    """A tool call; its id is as short as OpenAI's own are."""
    function = {"name": block["name"], "arguments": json.dumps(block["input"])}
    return {"id": f"call_{block['id'][-24:]}", "type": "function", "function": function}


def error(
    status: int, kind: str, message: str, *, code: str | None = None, param: str | None = None
) -> Answer:
    """A refusal in OpenAI's shape."""
    said = {"message": message, "type": kind, "param": param, "code": code}
    return as_json({"error": said}, status=status)


def _head(turn: Turn, model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{turn.id[-29:]}", "object": kind, "created": CREATED, "model": model}


def _text_of(turn: Turn) -> str | None:
    return "".join(b["text"] for b in turn.blocks if b["type"] == "text") or None


def _deltas(turn: Turn) -> Iterator[dict[str, Any]]:
    calls = 0
    for block in turn.blocks:
        match block["type"]:
            case "thinking":
                yield from ({"reasoning_content": half} for half in _halves(block["thinking"]))
            case "text":
                yield from ({"content": half} for half in _halves(block["text"]))
            case "tool_use":
                yield from _call_deltas(calls, block)
                calls += 1


def _call_deltas(index: int, block: Block) -> Iterator[dict[str, Any]]:
    call = call_of(block)
    arguments = call["function"]["arguments"]
    opened = call | {"index": index, "function": {"name": block["name"], "arguments": ""}}
    yield {"tool_calls": [opened]}
    for half in _halves(arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": half}}]}


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]
