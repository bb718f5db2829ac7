"""Events in, token counts out. Only the few events that carry something are parsed."""

from typing import Any

import msgspec

from billing.tokens import KNOWN
from proxy.wire import sse

MOST_BYTES = 64 * 1024  # of one member that we read; what it holds may be many times larger
BYTES_PER_TOKEN = 4  # of English and code; only where an answer has no final count of its own
ENVELOPE_BYTES = 115  # of an event around its text: its names, quotes and brackets
MOST_COUNTS = 100  # kinds of counts in one answer; the API has about ten


class _Block(msgspec.Struct):
    type: str = ""


_CALLS = frozenset({"tool_use", "mcp_tool_use", "server_tool_use"})
_blocks_of = msgspec.json.Decoder(list[_Block]).decode

Members = dict[str, msgspec.Raw]
_members_of = msgspec.json.Decoder(Members).decode  # one pass in C, without making values


class Meter:
    """What one answer says of itself as it goes by."""

    __slots__ = (
        "_content_bytes",
        "_events",
        "error",
        "has_final",
        "message_id",
        "model",
        "stop_reason",
        "stopped",
        "tool_calls",
        "usage",
    )

    def __init__(self) -> None:
        self.message_id = ""
        self.model = ""
        self.stop_reason = ""
        self.usage: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self.stopped = False
        self.tool_calls = 0
        self.has_final = False  # the last count of output has come
        self._content_bytes = 0
        self._events = 0

    def see(self, block: bytes) -> None:
        """Look at a block of whole events. Text deltas, nearly all of a stream, are not parsed."""
        if b"message_" in block or b"error" in block or b"tool_use" in block:
            for event in sse.events(block):
                self._see(event)
        else:
            self._content_bytes += len(block)
            self._events += block.count(b"\n\n")

    def see_message(self, raw: bytes) -> None:
        """Look at a whole non-streaming answer."""
        message = _members(raw)
        if _value(message, "type") == "error":
            self.error = _object(_value(message, "error"))
        else:
            self._merge_message(message)
            self.has_final = "output_tokens" in self.usage
            # Of what cannot be read, such as half a surrogate pair, all of it.
            content = message.get("content", b"") if message else raw
            self._content_bytes = len(memoryview(content))
            self._count_calls(content)

    @property
    def seen_tokens(self) -> int:
        """An estimate of the output by the size of what has passed."""
        text = self._content_bytes - self._events * ENVELOPE_BYTES
        return max(text, 0) // BYTES_PER_TOKEN

    @property
    def has_end(self) -> bool:
        """Whether the answer came to an end of its own, with or without its last event."""
        return self.stopped or bool(self.stop_reason) or self.error is not None

    @property
    def is_whole(self) -> bool:
        """Whether the counts are the last ones: the answer has said why it stops."""
        return self.stopped or bool(self.stop_reason)

    def _see(self, event: sse.Event) -> None:
        if event.name == "content_block_delta":
            self._content_bytes += len(event.data) + len("event: content_block_delta\ndata: \n\n")
            self._events += 1
            return
        if event.name in {"content_block_stop", "ping"}:
            return
        data = _members(event.data)
        match _value(data, "type"):
            case "message_start":
                self._merge_message(_members(data.get("message", b"")))
            case "message_delta":
                usage = _value(data, "usage")
                self._merge_usage(usage)
                self.has_final |= _object(usage).get("output_tokens") is not None
                delta = _members(data.get("delta", b""))
                self.stop_reason = _text(_value(delta, "stop_reason"))
            case "content_block_start":
                block = _members(data.get("content_block", b""))
                self.tool_calls += _text(_value(block, "type")) in _CALLS
            case "message_stop":
                self.stopped = True
            case "error":
                self.error = _object(_value(data, "error"))

    def _count_calls(self, content: bytes | msgspec.Raw) -> None:
        if b"tool_use" not in bytes(content):
            return
        try:
            blocks = _blocks_of(content)
        except (ValueError, RecursionError):
            return  # the client judges what it is sent
        self.tool_calls = sum(block.type in _CALLS for block in blocks)

    def _merge_message(self, message: Members) -> None:
        self.message_id = _text(_value(message, "id"))
        self.model = _text(_value(message, "model"))
        self.stop_reason = _text(_value(message, "stop_reason"))
        self._merge_usage(_value(message, "usage"))

    def _merge_usage(self, usage: object) -> None:
        # Every count in a stream is cumulative; null means "nothing new", not zero.
        for name, value in _object(usage).items():
            has_room = name in self.usage or name in KNOWN or len(self.usage) < MOST_COUNTS
            if value is not None and has_room:
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
