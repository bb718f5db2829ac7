"""Sessions that an outage has moved: they stay where they went, for their prompt cache is there."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from proxy.routing import Home, Move

MOST = 10_000  # sessions at once that are not where the table would put them
MOST_EACH = 8  # moves of one session that say anything still: one for each chain that it uses


class Moves:
    """What this process has moved itself, together with what the ledger tells of all others."""

    def __init__(self) -> None:
        self._own: OrderedDict[Home, tuple[Move, ...]] = OrderedDict()
        self._known: Mapping[Home, Sequence[Move]] = {}

    def note(self, home: Home, move: Move) -> None:
        """The session `home` has moved."""
        self._own[home] = (move, *self._own.get(home, ()))[:MOST_EACH]
        self._own.move_to_end(home)
        if len(self._own) > MOST:
            self._own.popitem(last=False)

    def learn(self, known: Mapping[Home, Sequence[Move]]) -> None:
        """All moves that the ledger tells of."""
        self._known = known

    def of(self, home: Home) -> Sequence[Move]:
        """A session's moves, the newest first; none for nearly all."""
        own, known = self._own.get(home, ()), self._known.get(home, ())
        return sorted((*own, *known), reverse=True) if own and known else own or known
