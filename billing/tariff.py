"""All prices in memory, reread when older than a few seconds, and which of them counts."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

from accounts.memory import Memory
from accounts.reads import off_loop
from billing import models
from billing.pricing import Charge, PriceVersion, choose

CHOICES_IN_MEMORY = 10_000  # names come from clients, who can make up as many as they like

# For want of any row that counts, not even a default one: dearer than all that we ship, so that
# nobody's budget is passed because a table is empty.
BUILT_IN = PriceVersion(
    id=None,
    pattern="*",
    input_nano=30_000_000_000,
    output_nano=150_000_000_000,
    cache_read_nano=10_000_000_000,
    cache_write_5m_nano=37_500_000_000,
    cache_write_1h_nano=60_000_000_000,
    server_tool_nano=20_000_000,
    is_default=True,
    valid_from=datetime.min.replace(tzinfo=UTC),
)

_LAST_RESORT = Charge(price=BUILT_IN, is_known=False)
# The period between two moments at which a price begins or ends; names; upstream; organization.
_Asked = tuple[int, tuple[str, ...], str, UUID]


class Tariff:
    """The prices as they were at one moment. Any thread may ask."""

    def __init__(self, prices: Sequence[PriceVersion]) -> None:
        self._prices = tuple(prices)
        edges = {price.valid_from for price in prices}
        edges |= {price.valid_until for price in prices if price.valid_until is not None}
        self._edges = sorted(edges)
        self._general = [price for price in prices if price.organization_id is None]
        self._own: dict[UUID, list[PriceVersion]] = {}
        for price in prices:
            if price.organization_id is not None:
                self._own.setdefault(price.organization_id, []).append(price)
        self._choices: dict[_Asked, Charge] = {}

    @property
    def prices(self) -> Sequence[PriceVersion]:
        """Every row, those of the past and of the future too."""
        return self._prices

    def charge(
        self, names: Sequence[str], *, upstream: str, organization_id: UUID, at: datetime
    ) -> Charge:
        """What to charge by, whatever happens: for want of a row, by the price that is built in.

        `names` are the model's, the one that the upstream was asked for first.
        """
        # Between two edges the same rows count, so what was chosen once holds for all of it.
        asked = (bisect_right(self._edges, at), tuple(names), upstream, organization_id)
        chosen = self._choices.get(asked)
        if chosen is None:
            rows = [*self._general, *self._own.get(organization_id, ())]
            chosen = choose(
                rows, asked[1], upstream=upstream, organization_id=organization_id, at=at
            )
            chosen = chosen or _LAST_RESORT
            if len(self._choices) >= CHOICES_IN_MEMORY:
                self._choices.clear()
            self._choices[asked] = chosen
        return chosen


def read() -> Tariff:
    """The prices as the database has them now."""
    return Tariff([row.version() for row in models.Price.objects.all()])


@off_loop
def _read(_: None) -> Tariff:
    return read()


_memory: Memory[None, Tariff] = Memory(_read, ttl_s=settings.MEMORY_TTL_S, most=1)


async def current() -> Tariff:
    """The prices as they were at most settings.MEMORY_TTL_S ago. Raises DatabaseAwayError."""
    return await _memory.get(None)


def forget() -> None:
    """Read them anew at the next request, in this process."""
    _memory.forget(None)
