"""What a translated request is, and what its answer needs to know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.wire.signature import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of the server that a request is translated for. Limits are tokens."""

    model: str  # as the server knows it
    signer: Signer  # recognises thinking that this gateway has signed
    context_window: int | None = None
    max_output_tokens: int | None = None
    conceded: frozenset[str] = frozenset()  # what this server has refused before: do without


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A request in the server's language, and what the way back must remember."""

    body: dict[str, Any]
    tool_names: Mapping[str, str]  # the name sent to the client's name, only where they differ
    stop_sequences: Sequence[str]
    safeguards: Sequence[str]  # the types of verdict that the client waits for
    input_tokens: int  # an estimate, until the server has counted
