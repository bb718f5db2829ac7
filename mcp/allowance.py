"""How much somebody may do at once and over time: a bucket that fills again (pure)."""

from dataclasses import dataclass, field


class SpentError(Exception):
    """It is empty."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """So many a second, and so many at once after a rest. Times are monotonic."""

    per_s: float
    at_once: int
    _left: float = field(default=-1.0)
    _since: float = 0.0

    def spend(self, now_s: float) -> None:
        """Take one. Raises SpentError."""
        if self._left < 0:
            self._left, self._since = float(self.at_once), now_s
        self._left = min(self._left + (now_s - self._since) * self.per_s, float(self.at_once))
        self._since = now_s
        if self._left < 1:
            raise SpentError
        self._left -= 1
