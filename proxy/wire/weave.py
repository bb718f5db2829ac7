"""The turns of an upstream as one answer: blocks numbered on, calls of our tools shown as ours.

Anthropic's MCP connector shows a call as `mcp_tool_use` and `mcp_tool_result` in one message.
Claude Code loses such a block unless it comes whole; the SDKs' beta helpers read it as it grows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.wire import ownblocks, sse
from proxy.wire.stream import event
from proxy.wire.turn import Block, BrokenTurnError, FailedTurnError, Manner, Named, Turn, Use
from proxy.wire.usages import Usages

_NO_USAGE = {"input_tokens": 0, "output_tokens": 0}
_decoded = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class _Open:
    """The open block."""

    use: Block | None = None  # a call of ours, as it began
    parts: list[str] = field(default_factory=list)
    index: int = -1  # as the client counts

    @property
    def is_there(self) -> bool:
        return self.use is not None or self.index >= 0


class Weaver:
    """One answer. Every method returns the bytes of zero or more whole events."""

    def __init__(self, manner: Manner, model: str, opening: Sequence[Block] = ()) -> None:
        self.names: Mapping[str, Named] = {}  # our tools, as the model knows them
        self.owns_all = False  # no tool of the client's may be called
        self._manner, self._model = manner, model
        self._opening = opening  # whole blocks that come before the upstream's first
        self._index = -1
        self.usages = Usages()
        self._begun = False  # the client has its message_start
        self.ids: set[str] = set()  # of calls of ours, in the whole answer
        self.failure: BrokenTurnError | FailedTurnError | None  # of the turn under way
        self._begin()

    def feed(self, block: bytes) -> bytes:
        """Some whole events of the upstream's. What fails in them stands in `failure`."""
        told = bytearray()
        try:
            for one in sse.events(block):
                told += self._take(one)
        except (FailedTurnError, BrokenTurnError) as failed:
            self.failure = failed
        except (msgspec.DecodeError, RecursionError, LookupError, TypeError, AttributeError):
            self.failure = BrokenTurnError("The upstream's stream cannot be read.")
        return bytes(told)

    def turn(self) -> Turn:
        """The turn that has ended; the next may be fed. Raises BrokenTurnError."""
        if self._delta is None or not isinstance(self._delta.get("stop_reason"), str):
            raise BrokenTurnError("The upstream's answer ended too early.")
        self.usages.add(self._usage)
        turn = Turn(
            events=self._events,
            stop_reason=self._delta["stop_reason"],
            delta=self._delta,
            uses=self._uses,
            has_client_use=self._has_client_use,
        )
        self._begin()
        return turn

    def abandon(self, why: str) -> bytes:
        """Give up a turn in its middle; what it has called gets a result that says why."""
        closed, uses = self._closed(), self._uses
        self.usages.add(self._usage)
        self._begin()
        return closed + b"".join([self.result(use, why, is_error=True) for use in uses])

    def _begin(self) -> None:
        self.failure = None
        self._events: list[Block] = []
        self._usage: Block = {}
        self._delta: Block | None = None
        self._open = _Open()
        self._uses: list[Use] = []
        self._has_client_use = False

    def text(self, text: str) -> bytes:
        """A block of text of the gateway's own."""
        # Clients read the deltas alone.
        return self._whole({"type": "text", "text": ""}, {"type": "text_delta", "text": text})

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
        told = {"delta": dict(delta), "usage": self.usages.summed()}
        return self._closed() + event("message_delta", told) + event("message_stop")

    def error(self, kind: str, text: str) -> bytes:
        """The end of an answer that cannot go on."""
        return event("error", {"error": {"type": kind, "message": text}})

    def _take(self, raw: sse.Event) -> bytes:
        data = _decoded(raw.data)
        match data.get("type"):
            case "ping":
                return sse.PING
            case "error":
                said = data["error"]
                raise FailedTurnError(str(said.get("type")), str(said.get("message")))
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
                self._message_delta(data)
        return b""  # the end is said at the end of the whole answer

    def _message_delta(self, data: Block) -> None:
        if not isinstance(data["delta"], dict):
            raise BrokenTurnError("The upstream's answer ended in no way that is known.")
        self._events.append(data)
        self._delta = data["delta"]
        self._count(data.get("usage"))

    def _count(self, usage: Block | None) -> None:
        """Counts are cumulative; null means "nothing new"."""
        self._usage |= {name: value for name, value in (usage or {}).items() if value is not None}

    def begin(self, message_id: str) -> bytes:
        """Begin the message before any upstream has said a word."""
        started = {"id": message_id, "type": "message", "role": "assistant", "content": []}
        ending = {"stop_reason": None, "stop_sequence": None, "usage": _NO_USAGE}
        return self._start({"message": {**started, **ending}})

    def _start(self, data: Block) -> bytes:
        self._count(data["message"].get("usage"))
        if self._begun:
            return b""
        self._begun = True
        begun = event("message_start", {"message": {**data["message"], "model": self._model}})
        return begun + b"".join([self._own(block) for block in self._opening])

    def _own(self, block: Block) -> bytes:
        return self.text(block["text"]) if block["type"] == "text" else self._whole(block)

    def _block_start(self, data: Block) -> bytes:
        block = data["content_block"]
        if not self._begun:
            raise BrokenTurnError("The upstream began a block before its message.")
        if self._open.is_there:
            raise BrokenTurnError("The upstream began a block before the last one had ended.")
        self._events.append(data)
        if block.get("type") == "tool_use" and (self.owns_all or block.get("name") in self.names):
            if not isinstance(block.get("id"), str):
                raise BrokenTurnError("The upstream called a tool under an id that is no text.")
            block = block | {"id": self._unique(block["id"])}
            given = block.get("input")
            parts = [msgspec.json.encode(given).decode()] if given else []
            self._open = _Open(use=block, parts=parts)
            return b""  # told once it is whole: what is no JSON must not reach the client
        self._has_client_use |= block.get("type") == "tool_use"
        self._index += 1
        self._open = _Open(index=self._index)
        return event("content_block_start", data | {"index": self._index})

    def _unique(self, call_id: str) -> str:
        """The id, or one like it where an upstream counts from one again in each turn."""
        found, number = call_id, len(self.ids)
        while found in self.ids:
            found, number = f"{call_id}_{number}", number + 1
        self.ids.add(found)
        return found

    def _block_delta(self, data: Block) -> bytes:
        use = self._open.use
        if not self._open.is_there:
            raise BrokenTurnError("The upstream went on with a block that it had not begun.")
        if use is None:
            self._events.append(data)
            return event("content_block_delta", data | {"index": self._open.index})
        self._open.parts.append(data["delta"].get("partial_json", ""))
        return b""

    def _block_stop(self, data: Block) -> bytes:
        opened, self._open = self._open, _Open()
        if not opened.is_there:
            return b""
        if opened.use is None:
            self._events.append(data)
            return event("content_block_stop", {"index": opened.index})
        name = opened.use["name"]
        named = self.names.get(name) or Named(server="", tool=name)
        given = _object("".join(opened.parts))
        use = Use(id=opened.use["id"], named=named, name=name, given=given)
        self._uses.append(use)
        # The model is shown what it called with; where that is no JSON, nothing.
        self._events[-1] = self._events[-1] | {"content_block": opened.use | {"input": given or {}}}
        self._events.append(data)
        return self.use(use)

    def use(self, use: Use) -> bytes:
        """A call of ours."""
        named, line = use.named, b""
        if self._manner.says_lines:
            line = self.text(ownblocks.line_of(named.server, named.tool, use.given))
        return line + self._use(use)

    def _use(self, use: Use) -> bytes:
        if not self._manner.streams_uses:
            return self._whole(_block_of(use))
        written = msgspec.json.encode(use.given or {}).decode()
        delta = {"type": "input_json_delta", "partial_json": written}
        return self._whole(_block_of(use) | {"input": {}}, delta)

    def _whole(self, block: Block, *deltas: Block) -> bytes:
        """A block of our own."""
        closed = self._closed()
        self._index += 1
        at = {"index": self._index}
        grown = [event("content_block_delta", at | {"delta": delta}) for delta in deltas]
        begun = event("content_block_start", at | {"content_block": block})
        return closed + begun + b"".join(grown) + event("content_block_stop", at)

    def _closed(self) -> bytes:
        """The end of a block that its upstream has left open."""
        index, self._open.index = self._open.index, -1
        return event("content_block_stop", {"index": index}) if index >= 0 else b""


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
