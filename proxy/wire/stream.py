"""The only emitter of Anthropic events: a state machine that cannot emit an illegal sequence."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Literal

import msgspec

from proxy.wire import sse
from proxy.wire.signature import Signer

# Clients read these from deltas alone: sent whole, a tool call would arrive with an empty input.
STREAMED = frozenset({"text", "thinking", "tool_use", "server_tool_use"})

_NO_USAGE = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}

_encoded = msgspec.json.Encoder().encode


class MisuseError(Exception):
    """The caller asked for an event that cannot stand here: a fault in our own code."""


class StreamOverError(MisuseError):
    """Nothing may follow the end of a message or an error."""


class OutOfTurnError(MisuseError):
    """The event may stand in a stream, but not at this place."""


class Phase(Enum):
    """Where the stream stands."""

    FRESH = auto()
    BETWEEN = auto()  # the message has begun and no block is open
    TEXT = auto()
    THINKING = auto()
    TOOL = auto()
    OVER = auto()


class Emitter:
    """Says one message. Every method returns the bytes of zero or more whole events.

    Blocks are opened, numbered and closed here; the first event is always message_start, whichever
    method is called first. A method that raises MisuseError has emitted and changed nothing.
    Thinking that nobody signed is signed by `signer`: clients keep any signature and send it back,
    and an upstream that checks signatures must not be shown ours.
    """

    __slots__ = ("_index", "_message_id", "_model", "_phase", "_signer", "_signing", "_usage")

    def __init__(
        self, *, message_id: str, model: str, usage: Mapping[str, Any], signer: Signer
    ) -> None:
        self._message_id = message_id
        self._model = model
        self._usage = _NO_USAGE | dict(usage)
        self._signer = signer
        self._signing = signer.signing()
        self._phase = Phase.FRESH
        self._index = -1

    def start(self) -> bytes:
        """Begin the message."""
        if self._phase not in {Phase.FRESH, Phase.OVER}:
            raise OutOfTurnError("the message has begun already")
        return self._begun()

    def ping(self) -> bytes:
        """A sign of life."""
        return self._begun() + sse.PING

    def text(self, text: str) -> bytes:
        """Some more text. Empty text is not sent: upstreams refuse empty blocks in history."""
        if not text:
            return self._begun()
        return self._inside(Phase.TEXT, {"type": "text", "text": ""}) + self._delta(
            {"type": "text_delta", "text": text}
        )

    def thinking(self, text: str) -> bytes:
        """Some more thinking. Empty thinking is sent: it keeps a client's event watchdog quiet."""
        opened = self._think()
        self._signing.update(_healed(text))  # what the client reads is what it sends back
        return opened + self._delta({"type": "thinking_delta", "thinking": text})

    def signature(self, signature: str | None = None) -> bytes:
        """Close the thinking with its signature, or with ours where the model gave none.

        Without any open thinking it is a block whose thinking is kept back.
        """
        opened = self._think()
        return opened + self._sign(self._signing.signature() if signature is None else signature)

    def tool_use(
        self, call_id: str, name: str, kind: Literal["tool_use", "server_tool_use"] = "tool_use"
    ) -> bytes:
        """Begin a tool call; `tool_input` gives it its input. Its id must be unique for ever."""
        block = {"type": kind, "id": call_id, "name": name, "input": {}}
        return self._between() + self._open(Phase.TOOL, block) + self._input("")

    def tool_input(self, partial_json: str) -> bytes:
        """Some more of the open tool call's input. All parts together are one JSON object."""
        self._refuse_if_over()
        if self._phase is not Phase.TOOL:
            raise OutOfTurnError("no tool call is open")
        return self._input(partial_json) if partial_json else b""

    def whole_block(self, block: Mapping[str, Any]) -> bytes:
        """A block that clients take whole, such as a result."""
        self._refuse_if_over()
        kind = block.get("type")
        if not isinstance(kind, str) or kind in STREAMED:
            raise OutOfTurnError(f"a block of type {kind!r} is not sent whole")
        return self._between() + self._open(Phase.BETWEEN, dict(block)) + self._stopped()

    def finish(
        self,
        stop_reason: str,
        usage: Mapping[str, Any],
        stop_sequence: str | None = None,
        extra_delta: Mapping[str, Any] | None = None,
    ) -> bytes:
        """End the message. `usage` is cumulative; what it does not name stays as the start said."""
        self._refuse_if_over()
        if not stop_reason:
            raise OutOfTurnError("a message ends for a reason")
        closed = self._between()
        self._phase = Phase.OVER
        delta = dict(extra_delta or {}) | {
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
        }
        usage = self._usage | dict(usage)
        ending = event("message_delta", {"delta": delta, "usage": usage}) + event("message_stop")
        return closed + ending

    def error(self, kind: str, message: str) -> bytes:
        """Break off. An open block stays open: its content is not whole."""
        begun = self._begun()
        self._phase = Phase.OVER
        return begun + event("error", {"error": {"type": kind, "message": message}})

    def _refuse_if_over(self) -> None:
        if self._phase is Phase.OVER:
            raise StreamOverError("the stream has ended already")

    def _begun(self) -> bytes:
        self._refuse_if_over()
        if self._phase is not Phase.FRESH:
            return b""
        self._phase = Phase.BETWEEN
        message: dict[str, Any] = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage,
        }
        return event("message_start", {"message": message})

    def _between(self) -> bytes:
        """Stand between two blocks, whatever has to begin or to end for it."""
        match self._phase:
            case Phase.FRESH | Phase.OVER:
                return self._begun()
            case Phase.BETWEEN:
                return b""
            case Phase.THINKING:
                return self._sign(self._signing.signature())
            case _:
                return self._stopped()

    def _inside(self, phase: Phase, block: dict[str, Any]) -> bytes:
        """Stand in a block of this kind; the open one goes on if it is one."""
        if self._phase is phase:
            return b""
        return self._between() + self._open(phase, block)

    def _think(self) -> bytes:
        opened = self._inside(Phase.THINKING, {"type": "thinking", "thinking": "", "signature": ""})
        if opened:
            self._signing = self._signer.signing()
        return opened

    def _sign(self, signature: str) -> bytes:
        signed = self._delta({"type": "signature_delta", "signature": signature})
        return signed + self._stopped()

    def _input(self, partial_json: str) -> bytes:
        return self._delta({"type": "input_json_delta", "partial_json": partial_json})

    def _open(self, phase: Phase, block: dict[str, Any]) -> bytes:
        self._phase = phase
        self._index += 1
        return event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, str]) -> bytes:
        return event("content_block_delta", {"index": self._index, "delta": delta})

    def _stopped(self) -> bytes:
        self._phase = Phase.BETWEEN
        return event("content_block_stop", {"index": self._index})


def event(kind: str, fields: Mapping[str, Any] | None = None) -> bytes:
    """One event as bytes. JSON escapes line ends, so that no text can break out of its event."""
    data = {"type": kind, **(fields or {})}
    try:
        return sse.encode(kind, _encoded(data))
    except UnicodeEncodeError:
        return sse.encode(kind, _encoded(_healed(data)))


def _healed(value: Any) -> Any:
    """The same in what UTF-8 can say: halves of a UTF-16 pair joined, a lone half replaced."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {_healed(key): _healed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_healed(item) for item in value]
    return value
