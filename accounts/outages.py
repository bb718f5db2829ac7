"""What the log says of something that is away: once that it is, and once that it is back.

Whatever meets it again and again meanwhile, be it a thousand requests a second, says no more than
a line each minute.
"""

import logging
import time
from collections.abc import Callable

SAID_EVERY_S = 60.0
SAID_CHARS = 300  # of an error; PostgreSQL's go over several lines


class Outage:
    """Of one thing, as one piece of code meets it."""

    def __init__(
        self, log: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what` is the beginning of the line, as in "the sweeper found no database"."""
        self._log, self._what, self._clock = log, what, clock
        self._said_at: float | None = None
        self._met = 0

    def met(self, error: BaseException | None) -> None:
        """It is away still."""
        self._met += 1
        now = self._clock()
        if self._said_at is not None and now - self._said_at < SAID_EVERY_S:
            return
        self._said_at = now
        said = " ".join(str(error).split())[:SAID_CHARS]
        self._log.warning("%s (met %d times): %s", self._what, self._met, said)

    def over(self) -> None:
        """It was met, and is well."""
        if self._said_at is not None:
            self._log.warning("%s: that is over (met %d times)", self._what, self._met)
        self._said_at, self._met = None, 0
