"""Events in, the whole message of an answer that is not streamed out."""

from collections.abc import Iterable
from typing import Any

import msgspec

# Reasons to stop that may cut a tool call short; its input is then no JSON, and nobody's fault.
_CUT_SHORT = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})

# The deltas that come in many pieces, and the field that holds a piece.
_PIECEMEAL = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


class FailedStreamError(Exception):
    """The stream ended with an error event. Its type and message are for the client."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class BrokenStreamError(Exception):
    """The events make no message: some are missing or out of order."""


def assemble(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that `events` tell of. Raises FailedStreamError or BrokenStreamError.

    Events and deltas of a kind unknown to us do not stop it: tomorrow's stream must survive us.
    """
    whole = _Whole()
    for event in events:
        whole.take(event)
    return whole.message()


class _Whole:
    """A message while it grows."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []
        # Joined at the end: adding to one long string piece by piece takes quadratic time.
        self._parts: dict[tuple[int, str], list[str]] = {}

    def take(self, event: dict[str, Any]) -> None:
        """One more event."""
        kind = event.get("type")
        if not self._message and kind not in {"message_start", "error", "ping"}:
            raise BrokenStreamError(f"{kind} came before message_start")
        try:
            self._take(kind, event)
        except (KeyError, TypeError, AttributeError) as error:
            raise BrokenStreamError(f"{kind} lacks a field or holds a wrong one") from error

    def _take(self, kind: object, event: dict[str, Any]) -> None:
        match kind:
            case "message_start":
                self._message = dict(event["message"])
                self._blocks = [dict(block) for block in self._message.get("content") or []]
            case "content_block_start":
                if event["index"] != len(self._blocks):
                    raise BrokenStreamError(f"block {event['index']} came out of order")
                self._blocks.append(dict(event["content_block"]))
            case "content_block_delta":
                self._grow(event["index"], event["delta"])
            case "message_delta":
                self._end(event)
            case "error":
                said = event["error"]
                raise FailedStreamError(said.get("type", "api_error"), said.get("message", ""))

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        if index != len(self._blocks) - 1:
            raise BrokenStreamError(f"block {index} grew while it was not open")
        block, kind = self._blocks[index], delta["type"]
        if kind in _PIECEMEAL:
            field = _PIECEMEAL[kind]
            if not isinstance(delta[field], str):
                raise BrokenStreamError(f"a {kind} holds no string")
            self._parts.setdefault((index, field), []).append(delta[field])
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        else:
            # signature_delta, compaction_delta and their like come once and name what they set
            block.update({name: value for name, value in delta.items() if name != "type"})

    def _end(self, event: dict[str, Any]) -> None:
        usage = {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
        beside = {k: v for k, v in event.items() if k not in {"type", "delta", "usage"}}
        # Counts are cumulative, so the last one is the whole; null means "nothing new".
        usage = dict(self._message.get("usage") or {}) | usage
        self._message |= beside | dict(event["delta"]) | {"usage": usage}

    def message(self) -> dict[str, Any]:
        """The message, once it is whole."""
        stop_reason = self._message.get("stop_reason")
        if not isinstance(stop_reason, str):
            raise BrokenStreamError("the stream ended before its message did")
        for (index, field), parts in self._parts.items():
            block, text = self._blocks[index], "".join(parts)
            if field != "partial_json":
                block[field] = f"{block.get(field) or ''}{text}"
            elif text:
                block["input"] = _object(text, cut=stop_reason in _CUT_SHORT)
        return self._message | {"content": self._blocks}


def _object(text: str, *, cut: bool) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if cut:
        return {}  # what the SDKs make of it too
    raise BrokenStreamError("the input of a tool call is not a JSON object")
