"""One answer of Brigade's while it is told, whichever dialect it came in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from billing.tokens import ESTIMATED
from proxy.adapters import refusals
from proxy.adapters.openai import usage
from proxy.adapters.openai.calls import MAX_CALLS, MAX_NAME_CHARS
from proxy.adapters.openai.telling import MAX_ANSWER_CHARS
from proxy.adapters.openai.think import Halves, Stops
from proxy.answer import UpstreamNonsenseError
from proxy.wire.signature import Signer
from proxy.wire.stream import Emitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the way back must remember of a request."""

    model: str  # the name to show
    input_tokens: int  # an estimate, until Brigade has counted
    stop_sequences: Sequence[str]
    signer: Signer
    new_id: Callable[[str], str]


class Telling:
    """One answer. The events go into `out`, also those before an error."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._emitter = Emitter(
            message_id=setting.new_id("msg_"),
            model=setting.model,
            usage={"input_tokens": setting.input_tokens},
            signer=setting.signer,
        )
        self._stops = Stops(setting.stop_sequences)
        self._halves = Halves()
        self._blank: str | None = ""  # what may begin a text, or be none that is worth a block
        self._usage: dict[str, Any] = {}
        self._has_begun = False
        self.chars = 0  # of the text and the calls so far
        self.calls = 0
        self.is_over = False

    def begin(self, out: list[bytes]) -> None:
        """Say that an answer comes, once."""
        if not self._has_begun:
            self._has_begun = True
            out.append(self._emitter.start() + self._emitter.ping())

    def text(self, text: str, out: list[bytes]) -> None:
        """Some more text. Raises UpstreamNonsenseError past MAX_ANSWER_CHARS."""
        self._measure(len(text))
        self.begin(out)
        self._say(self._stops.feed(self._halves.joined(text)), out)

    def call(self, name: object, given: object, out: list[bytes]) -> None:
        """A tool that the client is to run. Raises UpstreamNonsenseError for what is no call."""
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
            raise UpstreamNonsenseError("The upstream called a tool without naming it.")
        if self.calls >= MAX_CALLS:
            raise UpstreamNonsenseError(f"The upstream called more than {MAX_CALLS} tools at once.")
        if self._stops.matched is not None:
            return
        arguments = _arguments(name, given)
        self._measure(len(name) + len(arguments))
        self.begin(out)
        self._settle(out)
        self.calls += 1
        # Its own ids may come again in later turns, and clients lose a call whose id they know.
        out.append(self._emitter.tool_use(self._setting.new_id("toolu_"), name))
        out.append(self._emitter.tool_input(arguments))

    def count(self, said: object) -> None:
        """Note a count of tokens, if it is one."""
        self._usage |= usage.reported(said) or {}

    def end(self, out: list[bytes], *, reason: str = "", stopped_at: object = None) -> None:
        """Tell the end, once; `reason` goes before what the answer itself says of it."""
        if self.is_over:
            return
        self.is_over = True
        self.begin(out)
        self._settle(out)
        sequence: str | None = None
        if self._stops.matched is not None:
            reason, sequence = "stop_sequence", self._stops.matched
        elif self.calls:
            reason = "tool_use"
        elif not reason and stopped_at in self._setting.stop_sequences:
            reason, sequence = "stop_sequence", str(stopped_at)
        ours = usage.estimated(self._setting.input_tokens, self.chars)
        counts: dict[str, Any] = ours | self._usage
        if ours.keys() - self._usage.keys():
            counts[ESTIMATED] = True
        out.append(self._emitter.finish(reason or "end_turn", counts, sequence))

    def _say(self, text: str, out: list[bytes]) -> None:
        # A block of nothing but blank space is refused when it comes back in history.
        if self._blank is not None:
            self._blank += text
            if not self._blank.strip():
                return
            text, self._blank = self._blank, None
        if text:
            out.append(self._emitter.text(text))

    def _settle(self, out: list[bytes]) -> None:
        self._say(self._halves.rest() + self._stops.rest(), out)
        self._blank = ""

    def _measure(self, chars: int) -> None:
        self.chars += chars
        if self.chars > MAX_ANSWER_CHARS:
            raise UpstreamNonsenseError(
                f"The upstream's answer is longer than {MAX_ANSWER_CHARS} characters."
            )


def _arguments(name: str, given: object) -> str:
    if isinstance(given, Mapping):
        return msgspec.json.encode(given).decode()
    if given is None:
        return "{}"
    raise UpstreamNonsenseError(
        f"The upstream called the tool {name} with arguments that are not a JSON object."
    )


def fail(said: object) -> NoReturn:
    """Raise UpstreamError for an error that an answer consists of, in whatever shape it is said."""
    told = said if isinstance(said, Mapping) else {"message": said}
    refusals.raise_if_said({"error": told or {"message": None}})
    raise AssertionError("an error was said")
