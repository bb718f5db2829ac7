"""The stream of a server that speaks the Messages API with faults, put right on its way."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proxy.answer import UpstreamError, UpstreamNonsenseError, UpstreamSaidError
from proxy.wire import lenient, sse
from proxy.wire.blocks import MAX_BLOCKS, Blocks
from proxy.wire.ending import Ending
from proxy.wire.faults import is_count, usage_of
from proxy.wire.refusal import Refusal, is_right, refusal
from proxy.wire.stream import event

# Nearly every event of a stream. A JSON string's characters and escapes are told from anything
# else without a second try, so that no text makes this slow.
_PLAIN = re.compile(
    rb"event: ?content_block_delta\r?\n"
    rb'data: ?\{"type": ?"content_block_delta", ?"index": ?(\d+), ?"delta": ?'
    rb'\{"type": ?"([a-z_]+)", ?"([a-z_]+)": ?'
    rb'"((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+)" *\} *\}\r?\n\r?\n'
)
_BLANK = re.compile(rb"(?>\r\n|\n|\r){2}")
_COMMENTS = re.compile(rb"(?::[^\r\n]*+|[\r\n]++)*+")

MAX_EARLY_BYTES = 64 * 1024  # of pings before the message: a server may send them while it loads


class Repair:
    """Passes a right stream on byte for byte and puts right what is known to go wrong.

    Fulfils proxy.answer.Decoder. `model` and `input_tokens` (an estimate) stand in where the
    upstream names none, `new_id` mints an id with the prefix that it is given, and `safeguards`
    are the types of verdict that the client waits for.
    """

    __slots__ = (
        "_blocks",
        "_cr",
        "_early",
        "_ending",
        "_failure",
        "_input_tokens",
        "_model",
        "_new_id",
        "_over",
        "_splitter",
        "_started",
    )

    def __init__(
        self,
        *,
        safeguards: Sequence[str],
        model: str,
        input_tokens: int,
        new_id: Callable[[str], str],
    ) -> None:
        self._model = model
        self._input_tokens = input_tokens
        self._new_id = new_id
        self._splitter = sse.Splitter(lenient.MAX_DECODED_BYTES)
        self._blocks = Blocks(new_id)
        self._ending = Ending(safeguards)
        self._cr = b""  # half a line end, perhaps: the other half belongs to the same event
        self._early = b""  # pings and comments from before the message
        self._started = self._over = False
        self._failure: UpstreamError | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that `chunk` completes. After an end or an error nothing follows."""
        if self._over:
            return b""
        chunk = self._cr + chunk
        self._cr = b"\r" if chunk.endswith(b"\r") else b""
        try:
            block = self._splitter.feed(chunk.removesuffix(b"\r"))
        except sse.EventTooLongError as error:
            raise UpstreamNonsenseError("The upstream sent an event without end.") from error
        return self._passed_on(block) if block else b""

    def end(self) -> bytes:
        """The end of the message where only its last words are missing."""
        if self._over:
            return b""
        rest = (
            self._splitter.rest + self._cr + b"\n\n"
        )  # the blank line that ends an event may be missing
        out = b""
        if isinstance(lenient.decoded(b"".join(e.data for e in sse.events(rest))), Mapping):
            out = self._passed_on(rest)
        elif not self._started and (said := refusal(lenient.decoded(rest))) is not None:
            raise UpstreamSaidError(*said)  # an error without the clothes of an event
        if self._failure is not None:
            raise self._failure
        if not self._over and not self._ending.stop_reason:
            raise UpstreamError("The upstream ended its stream too early.")
        return out if self._over else out + self._finish(b"")

    def _passed_on(self, block: bytes) -> bytes:
        """A block of whole events, as they should be."""
        if self._failure is not None:
            raise self._failure
        if not block.isascii():
            block = lenient.in_utf8(block)
        out: list[bytes] = []
        at = 0
        try:
            while at < len(block) and not self._over:
                end = self._end_of_plain(block, at)
                if end == at:
                    blank = _BLANK.search(block, at)
                    end = blank.end() if blank else len(block)
                    out.append(self._repaired(block[at:end]))
                else:
                    out.append(block[at:end])
                at = end
        except UpstreamError as error:
            self._failure = error
            if not any(out):
                raise
            # What was right goes out first; the next call raises.
        return b"".join(out)

    def _end_of_plain(self, block: bytes, at: int) -> int:
        """Where the run of deltas ends that go on in the open block and are surely right."""
        plain = self._blocks.plain
        while plain is not None and (match := _PLAIN.match(block, at)) is not None:
            if match.group(1, 2, 3) != plain:
                break
            self._blocks.chars += match.end(4) - match.start(4)
            at = match.end()
        return at

    def _repaired(self, raw: bytes) -> bytes:
        """One event, as it should be."""
        said = next(sse.events(raw), None)
        if said is None:
            return self._aside(raw) if _COMMENTS.fullmatch(raw) else b""
        if said.data.strip() == b"[DONE]" or said.name == "done":
            return self._finish(b"") if self._ending.stop_reason else b""
        data = lenient.decoded(said.data)
        error = lenient.error_of(said, data)
        if error is not None:
            return self._failed(raw, said, data, error)
        if not isinstance(data, dict):
            return self._junk(said)
        kind, raw = lenient.named(raw, said, data)
        return self._take(kind, raw, data) if kind else b""

    def _junk(self, said: sse.Event) -> bytes:
        """An event that is no JSON object. Where it was to be content, some is missing now."""
        if said.name == "ping":
            return self._aside(sse.PING)
        if said.name in lenient.EVENTS:
            raise UpstreamNonsenseError(f"The upstream sent a {said.name} that is not JSON.")
        return b""

    def _take(self, kind: str, raw: bytes, data: dict[str, Any]) -> bytes:
        match kind:
            case "message_start":
                return b"" if self._started else self._start(raw, data)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                return self._begun() + self._ending.put_off() + self._blocks.take(raw, data)
            case "message_delta":
                begun = self._begun()
                self._ending.see(raw, data)
                return begun
            case "message_stop":
                return self._finish(raw)
            case "ping":
                return self._aside(raw)
            case _:
                return self._aside(raw) if self._started else b""  # nothing to belong to yet

    def _aside(self, raw: bytes) -> bytes:
        """What may stand anywhere goes on in its place."""
        if not self._started:
            if len(self._early) + len(raw) <= MAX_EARLY_BYTES:
                self._early += raw
            return b""
        return b"" if self._ending.hold(raw) else self._blocks.pass_on(raw)

    def _begun(self) -> bytes:
        return b"" if self._started else self._start(b"", {"type": "message_start"})

    def _start(self, raw: bytes, data: dict[str, Any]) -> bytes:
        said = data.get("message")
        message = said if isinstance(said, Mapping) else {}
        right = self._right_start(message)
        if right != said:
            raw = event("message_start", data | {"message": right})
        self._started = True
        self._ending.begin(right["usage"])
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        if len(blocks) > MAX_BLOCKS:
            raise UpstreamNonsenseError("The upstream began its message with too many blocks.")
        whole = (self._whole(index, block) for index, block in enumerate(blocks))
        return self._early + raw + b"".join(whole)

    def _right_start(self, message: Mapping[str, Any]) -> dict[str, Any]:
        right = dict(message) | {
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
        }
        if not isinstance(right.get("id"), str) or not right["id"]:
            right["id"] = self._new_id("msg_")
        if not isinstance(right.get("model"), str) or not right["model"]:
            right["model"] = self._model
        usage = right.get("usage")
        counts = usage if isinstance(usage, Mapping) else {}
        if not is_count(counts.get("input_tokens")) or not is_count(counts.get("output_tokens")):
            right["usage"] = usage_of(usage, input_tokens=self._input_tokens, output_tokens=0)
        return right

    def _whole(self, index: int, block: object) -> bytes:
        """A block that came with the start of the message, as events of its own."""
        start = {"type": "content_block_start", "index": index, "content_block": block}
        stop = {"type": "content_block_stop", "index": index}
        begun = self._blocks.take(event("content_block_start", start), start)
        return begun + self._blocks.take(event("content_block_stop", stop), stop)

    def _finish(self, stop: bytes) -> bytes:
        if not self._started:
            raise UpstreamNonsenseError("The upstream ended a message that it never began.")
        self._over = True
        blocks = self._blocks
        return blocks.close() + self._ending.said(stop, called=blocks.called, chars=blocks.chars)

    def _failed(self, raw: bytes, said: sse.Event, data: object, error: Refusal) -> bytes:
        if not self._started:
            raise UpstreamSaidError(*error)
        self._over = True
        if said.name == "error" and is_right(data):
            return raw
        return event("error", {"error": {"type": error.kind, "message": error.text}})
