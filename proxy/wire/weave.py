"""The turns of an upstream as one answer: blocks numbered on, calls of our tools shown as ours.

Anthropic's MCP connector shows a call as `mcp_tool_use` and `mcp_tool_result` in one message.
Claude Code loses such a block unless it comes whole; the SDKs' beta helpers read it as it grows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.wire import message, ownblocks, sse
from proxy.wire.stream import event
from proxy.wire.usages import Usages

Block = dict[str, Any]
_decoded = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a client wants it."""

    streams_uses: bool  # else our calls come whole
    says_lines: bool  # it shows nothing of the blocks, so that a line of text must
    pauses: bool  # at a bound it goes on by itself after `pause_turn`


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A tool of ours as the client knows it."""

    server: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A call of a tool of ours. `given` is None where its input is not a JSON object."""

    id: str  # the upstream's
    named: Named
    name: str  # as the model knows it
    given: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an upstream said in one turn."""

    content: Sequence[Block]
    stop_reason: str
    delta: Mapping[str, Any]  # of its message_delta
    uses: Sequence[Use]
    has_client_use: bool


class BrokenTurnError(Exception):
    """The upstream's events make no turn."""


@dataclass(slots=True)
class _Open:
    """The open block."""

    use: Block | None = None  # a call of ours, as it began
    parts: list[str] = field(default_factory=list)
    index: int = -1  # as the client counts


class Weaver:
    """One answer. Every method returns the bytes of zero or more whole events."""

    def __init__(
        self,
        names: Mapping[str, Named],
        manner: Manner,
        model: str,
        opening: Sequence[Block] = (),
    ) -> None:
        self._names, self._manner, self._model = names, manner, model
        self._opening = opening  # whole blocks that come before the upstream's first
        self._index = -1
        self._usages = Usages()
        self._begun = False  # the client has its message_start
        self._events: list[Block] = []
        self._open = _Open()
        self._uses: list[Use] = []
        self._has_client_use = False
        self.has_error = False  # the upstream has said one; it was passed on, and nothing follows

    def feed(self, block: bytes) -> bytes:
        """Some whole events of the upstream's. Raises BrokenTurnError."""
        try:
            return b"".join([self._take(one) for one in sse.events(block)])
        except (msgspec.DecodeError, RecursionError, LookupError, TypeError, AttributeError) as no:
            raise BrokenTurnError("The upstream's stream cannot be read.") from no

    def turn(self) -> Turn:
        """The turn that has ended; the next may be fed. Raises BrokenTurnError."""
        events, self._events = self._events, []
        uses, self._uses = self._uses, []
        has_client_use, self._has_client_use = self._has_client_use, False
        self._open = _Open()
        try:
            whole = message.assemble(events)
        except (message.BrokenStreamError, message.FailedStreamError) as error:
            raise BrokenTurnError(f"The upstream's answer is not whole: {error}.") from error
        deltas = [one["delta"] for one in events if one.get("type") == "message_delta"]
        self._usages.add(whole.get("usage") or {})
        return Turn(
            content=whole["content"],
            stop_reason=whole["stop_reason"],
            delta=deltas[-1],
            uses=uses,
            has_client_use=has_client_use,
        )

    def text(self, text: str) -> bytes:
        """A block of text of the gateway's own."""
        return self._whole({"type": "text", "text": text})

    def result(self, use: Use, text: str, *, is_error: bool) -> bytes:
        """The result of a call."""
        block = {
            "type": "mcp_tool_result",
            "tool_use_id": ownblocks.own_id(use.id),
            "is_error": is_error,
            "content": [{"type": "text", "text": text}] if text else [],
        }
        return self._whole(block)

    def end(self, delta: Mapping[str, Any]) -> bytes:
        """The end of the answer, for the reason that `delta` says."""
        ending = event("message_delta", {"delta": dict(delta), "usage": self._usages.summed()})
        return ending + event("message_stop")

    def error(self, kind: str, text: str) -> bytes:
        """The end of an answer that cannot go on."""
        return event("error", {"error": {"type": kind, "message": text}})

    def _take(self, raw: sse.Event) -> bytes:
        data = _decoded(raw.data)
        match data.get("type"):
            case "ping":
                return sse.PING
            case "error":
                self.has_error = True
                return sse.encode(raw.name, raw.data)
            case "message_start":
                self._events.append(data)
                return self._start(data)
            case "content_block_start":
                return self._block_start(data)
            case "content_block_delta":
                return self._block_delta(data)
            case "content_block_stop":
                return self._block_stop(data)
            case "message_delta":
                self._events.append(data)
        return b""  # the end is said at the end of the whole answer

    def _start(self, data: Block) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        begun = event("message_start", {"message": {**data["message"], "model": self._model}})
        return begun + b"".join([self._whole(block) for block in self._opening])

    def _block_start(self, data: Block) -> bytes:
        block = data["content_block"]
        self._events.append(data)
        if block.get("type") == "tool_use" and block.get("name") in self._names:
            given = block.get("input")
            parts = [msgspec.json.encode(given).decode()] if given else []
            self._open = _Open(use=block, parts=parts)
            return self._use_start(block) if self._manner.streams_uses else b""
        self._has_client_use |= block.get("type") == "tool_use"
        self._index += 1
        self._open = _Open(index=self._index)
        return event("content_block_start", data | {"index": self._index})

    def _block_delta(self, data: Block) -> bytes:
        use = self._open.use
        if use is None:
            self._events.append(data)
            return event("content_block_delta", data | {"index": self._open.index})
        part = data["delta"].get("partial_json", "")
        self._open.parts.append(part)
        if not part or not self._manner.streams_uses:
            return b""
        delta = {"type": "input_json_delta", "partial_json": part}
        return event("content_block_delta", {"index": self._open.index, "delta": delta})

    def _block_stop(self, data: Block) -> bytes:
        opened, self._open = self._open, _Open()
        if opened.use is None:
            self._events.append(data)
            return event("content_block_stop", {"index": opened.index})
        named = self._names[opened.use["name"]]
        given = _object("".join(opened.parts))
        use = Use(id=opened.use["id"], named=named, name=opened.use["name"], given=given)
        self._uses.append(use)
        # The model is shown what it called with; where that is no JSON, nothing.
        self._events[-1] = self._events[-1] | {"content_block": opened.use | {"input": given or {}}}
        self._events.append(data)
        if self._manner.streams_uses:
            return event("content_block_stop", {"index": opened.index})
        line = ownblocks.line_of(named.server, named.tool, given) if self._manner.says_lines else ""
        return (self.text(line) if line else b"") + self._whole(_block_of(use))

    def _use_start(self, block: Block) -> bytes:
        self._index += 1
        self._open.index = self._index
        use = Use(id=block["id"], named=self._names[block["name"]], name=block["name"], given={})
        return event("content_block_start", {"index": self._index, "content_block": _block_of(use)})

    def _whole(self, block: Block) -> bytes:
        """A block of our own, in one piece; but of text clients read the deltas alone."""
        self._index += 1
        at = {"index": self._index}
        if block["type"] != "text":
            return event("content_block_start", at | {"content_block": block}) + event(
                "content_block_stop", at
            )
        delta = {"type": "text_delta", "text": block["text"]}
        return (
            event("content_block_start", at | {"content_block": {"type": "text", "text": ""}})
            + event("content_block_delta", at | {"delta": delta})
            + event("content_block_stop", at)
        )


def _block_of(use: Use) -> Block:
    return {
        "type": "mcp_tool_use",
        "id": ownblocks.own_id(use.id),
        "name": use.named.tool,
        "server_name": use.named.server,
        "input": use.given or {},
    }


def _object(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return {}
    try:
        return _decoded(text)
    except (msgspec.DecodeError, RecursionError):
        return None
