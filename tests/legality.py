"""What Anthropic demands of a history with tools, and of a stream: why one is none."""

from collections.abc import Iterable, Mapping
from typing import Any

_SENT = {"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"}


def history_fault(messages: list[dict[str, Any]]) -> str | None:
    """Why the API would refuse these messages."""
    waiting: list[str] = []
    for at, message in enumerate(messages):
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if not blocks:
            return f"messages.{at}: is empty"
        if unknown := {block["type"] for block in blocks} - _SENT:
            return f"messages.{at}: holds {sorted(unknown)}"
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(waiting):
            return f"messages.{at}: answers {answered} where {waiting} were called"
        results = [block["type"] == "tool_result" for block in blocks]
        if results != sorted(results, reverse=True):
            return f"messages.{at}: tool results must come first"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if message["role"] != ("user" if answered else message["role"]):
            return f"messages.{at}: a result of the assistant's"
    return f"the calls {waiting} have no results" if waiting else None


def stream_fault(events: Iterable[Mapping[str, Any]]) -> str | None:
    """Why the SDKs could not read these events."""
    begun, opened, index, ended = False, False, -1, False
    for event in events:
        kind = event["type"]
        if ended:
            return f"{kind} after the end"
        match kind:
            case "ping":
                continue
            case "message_start":
                if begun:
                    return "two beginnings"
                begun = True
            case "content_block_start":
                if opened or event["index"] != index + 1:
                    return f"block {event['index']} after {index}"
                opened, index = True, index + 1
            case "content_block_delta" | "content_block_stop":
                if not opened or event["index"] != index:
                    return f"{kind} of block {event['index']}, and {index} is open: {opened}"
                opened = kind == "content_block_delta"
            case "message_delta":
                if opened:
                    return "the end while a block is open"
            case "message_stop" | "error":
                ended = True
        if not begun and kind != "error":
            return f"{kind} before the beginning"
    return None if ended else "no end"


def pairs_fault(content: list[dict[str, Any]]) -> str | None:
    """Why the calls of a message and their results do not make pairs."""
    uses = [block["id"] for block in content if block["type"] == "mcp_tool_use"]
    results = [block["tool_use_id"] for block in content if block["type"] == "mcp_tool_result"]
    return None if sorted(uses) == sorted(results) else f"{uses} and {results}"
