"""Traces: what has ended, told to an OpenTelemetry collector where an operator names one.

A trace has the id of its request, so that the `req_…` of a user finds it. It holds names, times and
counts: nothing of a body.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

Attribute = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work that has just ended. `root` is the request for which it was done."""

    id: UUID
    root: UUID
    parent: UUID | None
    name: str
    seconds: float
    attributes: Mapping[str, Attribute]
    error: str = ""
    is_call: bool = False  # of somebody else's server


Tell = Callable[[Span], None]
_tell: Tell | None = None


def tell_by(tell: Tell | None) -> None:
    """From now on each span is told so; None: to nobody, as at first."""
    global _tell
    _tell = tell


def is_on() -> bool:
    """Whether anybody collects them: else there is no need to make one."""
    return _tell is not None


def ended(span: Span) -> None:
    """Tell of it, on the event loop."""
    if _tell is not None:
        _tell(span)
