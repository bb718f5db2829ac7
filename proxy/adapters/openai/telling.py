"""What the pieces of a chat completion come to, as events of the Messages API."""

from collections.abc import Callable
from typing import Any

from proxy.adapters.openai import usage
from proxy.adapters.openai.calls import Calls
from proxy.adapters.openai.chunks import Chunk, Thought
from proxy.adapters.openai.think import Halves, Stops, Think
from proxy.adapters.openai.translation import Translation
from proxy.answer import UpstreamError, UpstreamNonsenseError, UpstreamSaidError
from proxy.wire import faults
from proxy.wire.signature import Signer
from proxy.wire.stream import Emitter

MAX_ANSWER_CHARS = 32 * 1024 * 1024  # no request could carry more back to us: bodies end there

# Why a server has stopped, where it is not simply the end of its turn.
_CUT_SHORT = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",
    "content_filter": "refusal",
    "refusal": "refusal",
}
# Reasons that are none: the answer is not whole.
_FAILURES = {
    "error": "api_error",
    "abort": "api_error",
    "cancelled": "api_error",
    "insufficient_system_resource": "overloaded_error",
}
_REFUSED = {"type": "refusal", "category": None, "explanation": None}


class Telling:
    """One answer while it is told. The events go into `out`, also those before an error."""

    def __init__(
        self,
        translation: Translation,
        *,
        model: str,
        new_id: Callable[[str], str],
        signer: Signer,
    ) -> None:
        self._translation = translation
        self._emitter = Emitter(
            message_id=new_id("msg_"),
            model=model,
            usage={"input_tokens": translation.input_tokens},
            signer=signer,
        )
        self._calls = Calls(self._emitter, translation.tool_names, new_id)
        self._think = Think()
        self._stops = Stops(translation.stop_sequences)
        self._thought_halves, self._text_halves = Halves(), Halves()
        self._last = ""  # the kind of what came last
        self._blank: list[str] = []  # what may begin a text, or be one that is not worth a block
        self._later: list[tuple[str, str]] = []  # what came in the middle of a tool call
        self._has_begun = self._has_refused = False
        self._finish = self._stopped_at = ""
        self._chars = 0
        self._usage: dict[str, Any] = {}

    def take(self, chunk: Chunk, out: list[bytes]) -> None:
        """Tell what one more piece says. Raises UpstreamError."""
        self._usage |= chunk.usage or {}
        if not chunk.is_choice:
            return
        if chunk.finish in _FAILURES:
            text = f"The upstream broke off its answer: {chunk.finish}."
            raise UpstreamSaidError(_FAILURES[chunk.finish], text)
        if not self._has_begun:
            self._has_begun = True
            out.append(self._emitter.start() + self._emitter.ping())
        self._finish = chunk.finish or self._finish
        self._stopped_at = chunk.stopped_at or self._stopped_at
        self._measure(chunk)
        if self._stops.matched is None:
            self._take_content(chunk, out)

    def end(self, out: list[bytes]) -> None:
        """Tell the end. Raises UpstreamError where the answer has none."""
        if not self._finish and self._stops.matched is None:
            raise UpstreamError("The upstream ended its stream before its answer was whole.")
        cut = "refusal" if self._has_refused else _CUT_SHORT.get(self._finish)
        self._settle(out)
        out.append(self._calls.close(cut=cut is not None))
        self._say_later(out)
        reason, sequence = (cut, None) if cut else self._end_of_turn()
        extra: dict[str, Any] = {"stop_details": _REFUSED} if reason == "refusal" else {}
        if self._translation.safeguards:
            extra["safeguard_results"] = faults.no_verdicts(self._translation.safeguards)
        counts = usage.estimated(self._translation.input_tokens, self._chars) | self._usage
        out.append(self._emitter.finish(reason, counts, sequence, extra))

    def _end_of_turn(self) -> tuple[str, str | None]:
        if self._stops.matched is not None:
            return "stop_sequence", self._stops.matched
        if self._calls.said:
            return "tool_use", None  # whatever the server says: some say "stop"
        if self._stopped_at in self._translation.stop_sequences:
            return "stop_sequence", self._stopped_at  # others are the model's own end tokens
        return "end_turn", None

    def _measure(self, chunk: Chunk) -> None:
        self._chars += len(chunk.text) + len(chunk.refusal)
        self._chars += sum(len(part) for thought in chunk.thoughts for part in thought)
        self._chars += sum(len(call.name) + len(call.arguments) for call in chunk.calls)
        if self._chars > MAX_ANSWER_CHARS:
            raise UpstreamNonsenseError(
                f"The upstream's answer is longer than {MAX_ANSWER_CHARS} characters."
            )

    def _take_content(self, chunk: Chunk, out: list[bytes]) -> None:
        for thought in chunk.thoughts:
            self._settle(out)
            self._take_thought(thought, out)
        if chunk.text:
            for piece in self._think.feed(self._text_halves.joined(chunk.text)):
                self._take_piece(piece.text, piece.is_thought, out)
        if chunk.refusal:
            self._has_refused = True
            self._settle(out)
            self._say("text", chunk.refusal, out)
        if chunk.calls:
            self._settle(out)
        if chunk.calls and self._stops.matched is None:
            self._last, self._blank = "call", []
            out.append(self._calls.take(chunk.calls))
            if not self._calls.unfinished:
                self._say_later(out)

    def _take_thought(self, thought: Thought, out: list[bytes]) -> None:
        if text := self._thought_halves.joined(thought.text):
            self._say("thinking", text, out)
        if thought.redacted:
            self._say("redacted", thought.redacted, out)
        # A signature that comes late has nothing left to sign: our own stands there already.
        if thought.signature and self._last in {"", "thinking"}:
            self._say("signature", thought.signature, out)

    def _take_piece(self, text: str, is_thought: bool, out: list[bytes]) -> None:
        if is_thought:
            text = text if self._last == "thinking" else text.lstrip()
            if text:
                self._say("thinking", text, out)
        elif text := self._stops.feed(text):
            self._say("text", text, out)

    def _settle(self, out: list[bytes]) -> None:
        """Say the text that waited for more: something else comes."""
        pieces = self._think.feed(self._text_halves.rest()) + self._think.rest()
        for piece in pieces:
            self._take_piece(piece.text, piece.is_thought, out)
        if text := self._stops.rest():
            self._say("text", text, out)

    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        if kind == "text" and self._last != "text":
            # A block of nothing but blank space is refused when it comes back in history.
            self._blank.append(text)
            if text.isspace():
                return
            text = "".join(self._blank)
        self._last, self._blank = kind, []
        if self._calls.unfinished:
            self._later.append((kind, text))
            return
        out.append(self._calls.close())
        out.append(self._told(kind, text))

    def _say_later(self, out: list[bytes]) -> None:
        later, self._later = self._later, []
        if later:
            out.append(self._calls.close())
        out.extend(self._told(kind, text) for kind, text in later)

    def _told(self, kind: str, text: str) -> bytes:
        match kind:
            case "text":
                return self._emitter.text(text)
            case "thinking":
                return self._emitter.thinking(text)
            case "signature":
                return self._emitter.signature(text)
            case _:
                return self._emitter.whole_block({"type": "redacted_thinking", "data": text})
