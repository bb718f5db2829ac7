"""What a tool hands back, as MCP has it: text for a model, the same as data, and pictures."""

from typing import Any

Answer = dict[str, Any]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def answer(blocks: list[dict[str, Any]], fields: dict[str, Any]) -> Answer:
    """A result. What a field does not say (None) is not there."""
    told = {name: value for name, value in fields.items() if value is not None}
    return {"content": blocks, "structuredContent": told, "isError": False}


def refusal(said: str) -> Answer:
    """A result that says why there is none, and what to do next."""
    return {"content": [text(said)], "isError": True}
