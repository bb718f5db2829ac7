"""Where things lie in time, in percent of a whole (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

MOST_TICKS = 5  # spaces between the lines: on a phone a label has 60 pixels
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# What people count in once tens are no longer natural.
_STEPS_S = (15, 30, _MINUTE, 120, 300, 600, 900, 1_800, _HOUR, 7_200, 14_400, 21_600, 43_200, _DAY)
_LEAST_MS = 1  # nothing shorter is told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that lasts: where it begins and how wide it is, both in percent of the whole, and
    how much of it, in percent of itself, was only waiting."""

    left: float
    width: float
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line across the whole, and how long after its beginning that is."""

    left: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All the time that is shown. It does not end before it begins."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.0)

    def at(self, moment: datetime) -> float:
        """Where a moment lies. One outside, by a clock that goes wrong, lies at the edge."""
        if not self.seconds:
            return 0.0
        share = (moment - self.start).total_seconds() / self.seconds
        return 100 * min(max(share, 0.0), 1.0)

    def bar(self, start: datetime, end: datetime | None, begun: datetime | None = None) -> Bar:
        """What lasts from `start` to `end`, or goes on, and only waited until `begun`."""
        left = self.at(start)
        width = max(self.at(end or self.end) - left, 0.0)
        waited = width if begun is None else min(max(self.at(begun) - left, 0.0), width)
        return Bar(left=left, width=width, waiting=100 * waited / width if width else 0.0)

    def ticks(self) -> Sequence[Tick]:
        """A few lines at round times; none where the whole is but a moment."""
        step_s = round_step_s(self.seconds)
        if not step_s:
            return []
        count = math.floor(self.seconds / step_s + 1e-9)  # 0.3 / 0.1 is a little less than 3
        moments = [number * step_s for number in range(count + 1)]
        return [Tick(left=100 * each / self.seconds, seconds=each) for each in moments]


def round_step_s(seconds: float) -> float:
    """The shortest round time of which at most MOST_TICKS fit; 0 where nothing can be told."""
    least_s = seconds / MOST_TICKS
    if seconds * 1000 < _LEAST_MS:
        return 0.0
    if least_s <= 10:
        power = 10.0 ** math.floor(math.log10(least_s))
        steps = (power * one for one in (1, 2, 5, 10))
        return next(round(one, 9) for one in steps if one >= least_s * (1 - 1e-9))
    longer = (one for one in _STEPS_S if one >= least_s)
    return next(longer, math.ceil(least_s / _DAY) * _DAY)
