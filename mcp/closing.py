"""How a session ends or does not begin: the close codes, and what leads to each."""

from collections.abc import Awaitable
from typing import TypeVar

from accounts.reads import DatabaseAwayError
from mcp import calls, registry

T = TypeVar("T")

# Close codes. Those from 4400 are HTTP's, and 4000 more.
BYE, RESTARTING = 1000, 1001
BAD_FRAME, WRONG_CREDENTIAL, NO_SUCH_VERSION = 4400, 4401, 4406
SILENT, NEWER_SESSION, TOO_OFTEN, AWAY = 4408, 4409, 4429, 4503


class SessionError(Exception):
    """The session has ended, or does not begin. The text is the reason, the code one of these."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code

    @property
    def status(self) -> int:
        """The same for HTTP."""
        return self.code - 4000 if self.code >= BAD_FRAME else 503


# What each error of the layers below means to the machine.
_CODES: dict[type[Exception], int] = {
    registry.TooManyError: TOO_OFTEN,
    registry.NoSessionError: SILENT,
    registry.NewerSessionError: NEWER_SESSION,
    calls.SupersededError: NEWER_SESSION,
    DatabaseAwayError: AWAY,
}


async def in_words(work: Awaitable[T]) -> T:
    """The same, with a SessionError for what means the session's end."""
    try:
        return await work
    except tuple(_CODES) as error:
        raise SessionError(_CODES[type(error)], str(error)) from error
