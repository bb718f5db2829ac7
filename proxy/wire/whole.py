"""The whole message of a server that speaks the Messages API with faults, put right."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from proxy.answer import UpstreamNonsenseError, UpstreamSaidError
from proxy.wire.blocks import MAX_BLOCKS
from proxy.wire.faults import (
    CHARS_PER_TOKEN,
    TOOL_CALLS,
    ToolIds,
    is_count,
    no_verdicts,
    stop_reason_of,
    usage_of,
)
from proxy.wire.lenient import MAX_DECODED_BYTES
from proxy.wire.refusal import refusal

Block = dict[str, Any]


def repaired_message(
    body: bytes,
    *,
    safeguards: Sequence[str],
    model: str,
    input_tokens: int,
    new_id: Callable[[str], str],
) -> bytes:
    """The message as clients expect it; the same bytes where nothing is wrong with it.

    The parameters are those of Repair. Raises UpstreamSaidError for an error that came with
    status 200, and UpstreamNonsenseError for what is no message at all.
    """
    message = _message(body)
    content = _content(message.get("content"), ToolIds(new_id))
    called = any(block.get("type") == "tool_use" for block in content)
    right = message | {
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason_of(message.get("stop_reason"), called=called),
    }
    if not isinstance(right.get("id"), str) or not right["id"]:
        right["id"] = new_id("msg_")
    if not isinstance(right.get("model"), str) or not right["model"]:
        right["model"] = model
    usage = right.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    if not is_count(counts.get("input_tokens")) or not is_count(counts.get("output_tokens")):
        output_tokens = _length(content) // CHARS_PER_TOKEN
        right["usage"] = usage_of(usage, input_tokens=input_tokens, output_tokens=output_tokens)
    if safeguards and "safeguard_results" not in right:
        right["safeguard_results"] = no_verdicts(safeguards)
    return body if right == message else msgspec.json.encode(right)


def _message(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_DECODED_BYTES:
        raise UpstreamNonsenseError("The upstream's answer is more than we take at once.")
    try:
        message = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamNonsenseError("The upstream's answer is not JSON.") from error
    if isinstance(message, dict) and "content" in message:
        return message
    said = refusal(message)
    if said is not None:
        raise UpstreamSaidError(*said)
    raise UpstreamNonsenseError("The upstream's answer is no message.")


def _content(content: object, ids: ToolIds) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = content if isinstance(content, list) else []
    if len(blocks) > MAX_BLOCKS:
        raise UpstreamNonsenseError(f"The upstream's answer has more than {MAX_BLOCKS} blocks.")
    return [
        right
        for block in blocks
        if isinstance(block, dict) and (right := _block(block, ids)) is not None
    ]


def _block(block: Block, ids: ToolIds) -> Block | None:
    match block.get("type"):
        case "text":
            return block if isinstance(block.get("text"), str) else None
        case "thinking":
            missing = {name: "" for name in ("thinking", "signature") if not block.get(name)}
            return block | missing
        case str(kind) if kind in TOOL_CALLS:
            call_id, name = ids.own(kind, block.get("id")), str(block.get("name") or "")
            return block | {"id": call_id, "name": name, "input": _input(block.get("input"))}
        case _ if "tool_use_id" in block:
            return block | {"tool_use_id": ids.answered(block["tool_use_id"])}
        case _:
            return block


def _input(value: object) -> dict[str, Any]:
    """The input of a tool call, which some servers send as JSON text."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            value = None
    return value if isinstance(value, dict) else {}


def _length(content: list[Block]) -> int:
    said = (block.get("text") or block.get("thinking") or block.get("input") for block in content)
    return sum(len(msgspec.json.encode(value)) for value in said if value)
