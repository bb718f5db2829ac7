"""What asking an upstream comes to: an answer, or a reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class UpstreamError(Exception):
    """The upstream gave no answer. The text names the upstream and may go to the client."""

    is_final = False  # others were asked too: the client need not do it again


class UpstreamUnreachableError(UpstreamError):
    """No connection, or it broke."""


class UpstreamTimeoutError(UpstreamError):
    """Connected, but silent for too long."""


class UpstreamRefusedUsError(UpstreamError):
    """It does not accept the operator's credential. Trying again does not help."""


class UpstreamNonsenseError(UpstreamError):
    """What it answered is no answer of the Messages API."""


class UpstreamSaidError(UpstreamError):
    """An error of the upstream's own inside an answer that had begun with 200.

    `kind` is the error type of the Messages API; the text is the upstream's and goes to the client.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class UpstreamRefusalError(UpstreamError):
    """It refused, with an answer that may be better elsewhere or later."""

    def __init__(self, answer: "Answer") -> None:
        super().__init__(f"The upstream answered {answer.status}.")
        self.answer = answer


class UpstreamDroppedError(UpstreamUnreachableError):
    """A kept connection was closed at the moment of its use: nothing was asked yet."""


class Decoder(Protocol):
    """A stream in an upstream's own language, turned into events of the Messages API. Pure."""

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that `chunk` completes, empty for none; chunks may be cut anywhere.

        Raises UpstreamError where the stream is none, or is an error.
        """

    def end(self) -> bytes:
        """The events still owed when the body has ended. Raises UpstreamError if it ended early."""


class Source(Protocol):
    """Where the chunks of a stream come from."""

    async def read(self) -> bytes:
        """The next chunk; empty at the end. Cancelled, it loses nothing. Raises UpstreamError."""

    async def close(self) -> None:
        """Stop the upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An upstream's answer: a whole body, or a stream of which nothing is read yet."""

    status: int
    said_status: int = 0  # the upstream's own, where it means another one to the client
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    body: bytes = b""
    source: Source | None = None
