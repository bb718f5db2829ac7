"""Events in, token counts out. Only the few events that carry something are parsed."""

from typing import Any

import msgspec

from proxy.wire import sse

MOST_BYTES = 64 * 1024  # of one member that we read; what it holds may be many times larger
MOST_COUNTS = 100  # kinds of counts in one answer; the API has about ten


Members = dict[str, msgspec.Raw]
_members_of = msgspec.json.Decoder(Members).decode  # one pass in C, without making values


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
        message = _members(raw)
        if _value(message, "type") == "error":
            self.error = _object(_value(message, "error"))
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
        data = _members(event.data)
        match _value(data, "type"):
            case "message_start":
                self._merge_message(_members(data.get("message", b"")))
            case "message_delta":
                self._merge_usage(_value(data, "usage"))
                delta = _members(data.get("delta", b""))
                self.stop_reason = _text(_value(delta, "stop_reason"))
            case "message_stop":
                self.stopped = True
            case "error":
                self.error = _object(_value(data, "error"))

    def _merge_message(self, message: Members) -> None:
        self.message_id = _text(_value(message, "id"))
        self.model = _text(_value(message, "model"))
        self.stop_reason = _text(_value(message, "stop_reason"))
        self._merge_usage(_value(message, "usage"))

    def _merge_usage(self, usage: object) -> None:
        # Every count in a stream is cumulative; null means "nothing new", not zero.
        for name, value in _object(usage).items():
            if value is not None and (name in self.usage or len(self.usage) < MOST_COUNTS):
                self.usage[name] = value


def _members(raw: bytes | msgspec.Raw) -> Members:
    """The members of an object, each still in its bytes; nothing where there is none."""
    try:
        return _members_of(raw)
    except (ValueError, RecursionError):
        return {}  # the client judges what it is sent; we only count


def _value(members: Members, name: str) -> Any:
    raw = members.get(name)
    if raw is None or len(memoryview(raw)) > MOST_BYTES:
        return None
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
