"""Events in, token counts out. Only the few events that carry something are parsed."""

from typing import Any

import msgspec

from proxy.wire import sse


MOST_COUNTS = 100  # kinds of counts in one answer; the API has about ten


class Meter:
    """What one answer says of itself as it goes by."""

    __slots__ = ("error", "message_id", "model", "stop_reason", "stopped", "usage")

    def __init__(self) -> None:
        self.message_id = ""
        self.model = ""
        self.stop_reason = ""
        self.usage: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self.stopped = False

    def see(self, block: bytes) -> None:
        """Look at a block of whole events. Text deltas, nearly all of a stream, are not parsed."""
        if b"message_" in block or b"error" in block:
            for event in sse.events(block):
                self._see(event)

    def see_message(self, raw: bytes) -> None:
        """Look at a whole non-streaming answer."""
        message = _decoded(raw)
        if message.get("type") == "error":
            self.error = _object(message.get("error"))
        else:
            self._merge_message(message)

    @property
    def has_end(self) -> bool:
        """Whether the answer came to an end of its own, with or without its last event."""
        return self.stopped or bool(self.stop_reason) or self.error is not None

    def _see(self, event: sse.Event) -> None:
        if event.name in {
            "content_block_delta",
            "content_block_start",
            "content_block_stop",
            "ping",
        }:
            return
        data = _decoded(event.data)
        match data.get("type"):
            case "message_start":
                self._merge_message(_object(data.get("message")))
            case "message_delta":
                self._merge_usage(data.get("usage"))
                self.stop_reason = _text(_object(data.get("delta")).get("stop_reason"))
            case "message_stop":
                self.stopped = True
            case "error":
                self.error = _object(data.get("error"))

    def _merge_message(self, message: dict[str, Any]) -> None:
        self.message_id = _text(message.get("id"))
        self.model = _text(message.get("model"))
        self.stop_reason = _text(message.get("stop_reason"))
        self._merge_usage(message.get("usage"))

    def _merge_usage(self, usage: object) -> None:
        # Every count in a stream is cumulative; null means "nothing new", not zero.
        for name, value in _object(usage).items():
            if value is not None and (name in self.usage or len(self.usage) < MOST_COUNTS):
                self.usage[name] = value


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        return _object(msgspec.json.decode(raw))
    except (ValueError, RecursionError):
        return {}  # the client judges what it is sent; we only count


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
