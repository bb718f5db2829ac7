"""What a request is in one of Brigade's dialects, and how its answer is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.adapters.brigade.lines import Reader
from proxy.adapters.brigade.telling import Setting
from proxy.adapters.language import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A request in a dialect."""

    path: str
    body: Mapping[str, Any]
    reader: Callable[[Setting], Reader]  # of a stream
    message: Callable[[bytes, Setting], bytes]  # of a whole answer


# From the decoded body, the agent that is meant, and the call around it. Raises BodyError.
Speak = Callable[[Mapping[str, Any], str, Call], Spoken]
