"""What an upstream says in one turn, and how its calls of our tools are named (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.wire import message

Block = dict[str, Any]


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

    events: Sequence[Block]
    stop_reason: str
    delta: Mapping[str, Any]  # of its message_delta
    uses: Sequence[Use]
    has_client_use: bool

    def content(self) -> Sequence[Block]:
        """The blocks, as the upstream is told them again. Raises BrokenTurnError."""
        try:
            blocks: Sequence[Block] = message.assemble(self.events)["content"]
        except (message.BrokenStreamError, message.FailedStreamError) as error:
            raise BrokenTurnError(f"The upstream's answer is not whole: {error}.") from error
        return blocks


class BrokenTurnError(Exception):
    """The upstream's events make no turn."""


class FailedTurnError(Exception):
    """The upstream has ended its turn with an error. Its type and message are for the client."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
