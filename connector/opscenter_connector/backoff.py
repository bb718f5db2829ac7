"""How long to pause before trying again: anything up to twice as long each time."""

import random

FIRST_S = 0.5
MOST_S = 30.0
STABLE_S = 10.0  # what has worked this long starts anew; less was a flap


def delay_s(attempt: int, most_s: float) -> float:
    """Full jitter: a thousand connectors that lost one gateway do not come back in one moment."""
    return random.uniform(0, min(most_s, FIRST_S * 2 ** min(attempt, 10)))  # noqa: S311 - nothing secret
