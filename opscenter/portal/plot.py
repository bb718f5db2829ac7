"""Usage over time as stacked bars: where each rectangle of the picture stands (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HEIGHT, STEP, WIDTH = 100, 10, 7  # in units of the picture, which is stretched to its place
# What is stacked, from below: the sums of each part, what it is called, and its colour.
PARTS = (
    (("input_tokens",), "Input", "t1"),
    (("output_tokens",), "Output", "t2"),
    (("cache_write_5m_tokens", "cache_write_1h_tokens"), "Cache writes", "t4"),
    (("cache_read_tokens",), "Cache reads", "t3"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a bar."""

    y: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An hour or a day."""

    at: datetime
    x: int
    tokens: int
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The picture. `most` is what its full height stands for."""

    bars: Sequence[Bar]
    most: int

    @property
    def width(self) -> int:
        return STEP * len(self.bars)


def plotted(
    found: Mapping[datetime, Mapping[str, int]],
    starts_at: datetime,
    ends_at: datetime,
    grain: timedelta,
) -> Plot:
    """A bar for every hour or day of the range, also for those in which nothing was used."""
    times = [starts_at + number * grain for number in range((ends_at - starts_at) // grain)]
    sizes = {at: _sizes(found.get(at, {})) for at in times}
    most = max((sum(each) for each in sizes.values()), default=0)
    bars = [_bar(number, at, sizes[at], most) for number, at in enumerate(times)]
    return Plot(bars=bars, most=most)


def _sizes(sums: Mapping[str, int]) -> list[int]:
    # Corrections may bring an hour below nothing; such a piece is not there.
    return [max(sum(sums.get(name, 0) for name in names), 0) for names, _, _ in PARTS]


def _bar(number: int, at: datetime, sizes: Sequence[int], most: int) -> Bar:
    pieces, below = [], 0.0
    for size, (_, _, colour) in zip(sizes, PARTS, strict=True):
        height = HEIGHT * size / most if most else 0.0
        if height:
            y = round(HEIGHT - below - height, 2)
            pieces.append(Piece(y=y, height=round(height, 2), colour=colour))
        below += height
    return Bar(at=at, x=STEP * number, tokens=sum(sizes), pieces=pieces)
