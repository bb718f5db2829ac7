"""Which request the code at hand works for, so that each line of the log can say so."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

SESSION = b"x-claude-code-session-id"
MOST_CHARS = 100  # of a session's name, which a client makes up


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request: its id, whose key it showed, and the headers, read once somebody logs."""

    request_id: str
    key_id: str = ""  # the public part
    headers: Iterable[tuple[bytes, bytes]] = field(default=(), repr=False)

    @property
    def session(self) -> str:
        """The client's session; empty where it names none."""
        found = (value.decode("latin-1") for name, value in self.headers if name == SESSION)
        return next(found, "")[:MOST_CHARS]


current: ContextVar[Asked | None] = ContextVar("asked", default=None)
