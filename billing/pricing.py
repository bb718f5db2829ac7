"""What usage costs, in integer nano-dollars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing.patterns import closeness, matches
from billing.tokens import TokenCounts

PER = 1_000_000  # tokens that a price is for
UNIT_PPM = 1_000_000  # a multiplier of one
MOST_NANO = 10**15  # a million dollars for a million tokens: a slip of the pen
MOST_MULTIPLIER_PPM = 1_000_000_000  # a thousand times
# Ten million dollars for one request is an upstream's mistake or a tariff's. Hundreds of them
# still fit into the sums, so that neither the row nor its roll-up ever fails for its cost.
MOST_COST_NANO = 10**16


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """One row of the price table. Amounts: nano-dollars per million tokens, but for tools."""

    id: int | None  # None: built in
    pattern: str
    input_nano: int
    output_nano: int
    cache_read_nano: int
    cache_write_5m_nano: int
    cache_write_1h_nano: int
    server_tool_nano: int = 0  # for one use
    multiplier_ppm: int = UNIT_PPM
    upstream: str = ""
    organization_id: UUID | None = None
    is_default: bool = False
    valid_from: datetime
    valid_until: datetime | None = None

    def cost(self, counts: TokenCounts) -> int:
        """What these tokens cost, in nano-dollars; half a one is rounded up, once, at the end.

        It is MOST_COST_NANO at most.
        """
        per_million = (
            counts.input_tokens * self.input_nano
            + counts.output_tokens * self.output_nano
            + counts.cache_read_tokens * self.cache_read_nano
            + counts.cache_write_5m_tokens * self.cache_write_5m_nano
            + counts.cache_write_1h_tokens * self.cache_write_1h_nano
        )
        exact = (per_million + counts.server_tool_uses * self.server_tool_nano * PER) * (
            self.multiplier_ppm
        )
        return min((2 * exact + PER * UNIT_PPM) // (2 * PER * UNIT_PPM), MOST_COST_NANO)

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """What a request can cost at most, whichever kind of input its tokens turn out to be."""
        kinds = ("input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
        return max(
            self.cost(TokenCounts(output_tokens=output_tokens, **{kind: input_tokens}))
            for kind in kinds
        )

    def is_valid(self, at: datetime) -> bool:
        """Whether it counts at that moment."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A price for one request, and whether it is that of the model or a stop-gap."""

    price: PriceVersion
    is_known: bool


def choose(
    prices: Sequence[PriceVersion],
    names: Sequence[str],
    *,
    upstream: str,
    organization_id: UUID,
    at: datetime,
) -> Charge | None:
    """The price of the first of the model's `names` that any row knows, else a default row.

    An organization's own row goes first, then one for the upstream alone, then the closest
    pattern, then the newest. None where there is not even a default.

    `names` begins with the one that the upstream was asked for; what it says that it served comes
    after it, so that an upstream cannot choose its own price where we know one.
    """
    standing = [
        price
        for price in prices
        if price.upstream in ("", upstream)
        and price.organization_id in (None, organization_id)
        and price.is_valid(at)
    ]
    for name in names:
        found = [p for p in standing if not p.is_default and name and matches(p.pattern, name)]
        if found:
            return Charge(price=min(found, key=_rank), is_known=True)
    # A default row has a pattern too: one for "gpt-*" says nothing about a claude.
    stop_gaps = [
        price
        for price in standing
        if price.is_default and any(matches(price.pattern, name) for name in names or ("",))
    ]
    return Charge(price=min(stop_gaps, key=_rank), is_known=False) if stop_gaps else None


def _rank(price: PriceVersion) -> tuple[bool, bool, tuple[bool, int, str], float, int]:
    """Its place among those that fit; the least counts."""
    return (
        price.organization_id is None,
        not price.upstream,
        closeness(price.pattern),
        -price.valid_from.timestamp(),
        -(price.id or 0),
    )
