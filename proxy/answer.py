"""What asking an upstream comes to: an answer, or a reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class UpstreamError(Exception):
    """The upstream gave no answer. The text names the upstream and may go to the client."""


class UpstreamUnreachableError(UpstreamError):
    """No connection, or it broke."""


class UpstreamTimeoutError(UpstreamError):
    """Connected, but silent for too long."""


class UpstreamRefusedUsError(UpstreamError):
    """It does not accept the operator's credential. Trying again does not help."""


class UpstreamNonsenseError(UpstreamError):
    """What it answered is no answer of the Messages API."""


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
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    body: bytes = b""
    source: Source | None = None
