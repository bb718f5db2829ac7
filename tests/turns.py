"""Legal turns of an Anthropic model, as a message or as the events that spell it."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

MODEL = "claude-opus-5-5"

Event = dict[str, Any]
Block = dict[str, Any]

# How a block opens before its deltas; blocks of other types arrive complete.
OPENINGS: dict[str, Block] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
    "server_tool_use": {"input": {}},
}


def usage(
    *, input_tokens: int = 25, output_tokens: int = 15, cache_read: int = 0, cache_creation: int = 0
) -> dict[str, Any]:
    """What a turn cost; `input_tokens` are those that no cache held."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": cache_creation,
        "cache_read_input_tokens": cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache_creation,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a model says once. It names the model that was asked for, as Anthropic does."""

    blocks: tuple[Block, ...]
    stop_reason: str = "end_turn"
    usage: dict[str, Any] = field(default_factory=usage)
    id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")

    def message(self, model: str = MODEL) -> Event:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": list(self.blocks),
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage,
        }

    def events(self, model: str = MODEL) -> list[Event]:
        opened: Event = {"content": [], "stop_reason": None}
        opened["usage"] = self.usage | {"output_tokens": 1}
        stopped = {"stop_reason": self.stop_reason, "stop_sequence": None}
        return [
            {"type": "message_start", "message": self.message(model) | opened},
            {"type": "ping"},
            *(event for index, block in enumerate(self.blocks) for event in _spelled(index, block)),
            {"type": "message_delta", "delta": stopped, "usage": self.usage},
            {"type": "message_stop"},
        ]


def text_turn(
    text: str = "Hello from the upstream.", *, cost: dict[str, Any] | None = None
) -> Turn:
    return Turn(blocks=(_text(text),), usage=cost or usage())


def thinking_turn(thinking: str, text: str, *, cost: dict[str, Any] | None = None) -> Turn:
    thought = {"type": "thinking", "thinking": thinking, "signature": f"sig-{uuid4().hex}"}
    return Turn(blocks=(thought, _text(text)), usage=cost or usage())


def tool_turn(
    *calls: tuple[str, dict[str, Any]], text: str = "", cost: dict[str, Any] | None = None
) -> Turn:
    """One tool call or several parallel ones, after some text if there is any."""
    # Clients key calls by id for the whole conversation, so no two calls ever share one.
    uses = [
        {"type": "tool_use", "id": f"toolu_{uuid4().hex}", "name": name, "input": given}
        for name, given in calls
    ]
    said = [_text(text)] if text else []
    return Turn(blocks=(*said, *uses), stop_reason="tool_use", usage=cost or usage())


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _spelled(index: int, block: Block) -> list[Event]:
    opening = block | OPENINGS.get(block["type"], {})
    return [
        {"type": "content_block_start", "index": index, "content_block": opening},
        *(
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in _deltas(block)
        ),
        {"type": "content_block_stop", "index": index},
    ]


def _deltas(block: Block) -> list[Event]:
    match block["type"]:
        case "text":
            return [{"type": "text_delta", "text": half} for half in _halves(block["text"])]
        case "thinking":
            thoughts = _halves(block["thinking"])
            return [
                *({"type": "thinking_delta", "thinking": half} for half in thoughts),
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use" | "server_tool_use":
            written = ["", *_halves(json.dumps(block["input"]))]
            return [{"type": "input_json_delta", "partial_json": part} for part in written]
        case _:
            return []


def _halves(text: str) -> list[str]:
    """Two pieces, so that nobody passes by looking at the first delta alone."""
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]
