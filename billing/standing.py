"""Where a caller stands with their limits, in the headers that clients read."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from billing.allowances import Bound, Counts

# From where on Claude Code warns, where it reads the unified headers at all.
WARN_AT = (0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One limit: how much of it is gone, what may still be used, and when it begins anew."""

    what: str  # requests, tokens or cost
    limit: int
    used: int  # with what open requests hold
    resets_at: datetime

    @property
    def remaining(self) -> int:
        """What may still be used."""
        return max(self.limit - self.used, 0)

    @property
    def utilization(self) -> float:
        """The part of it that is gone, from 0 to 1."""
        return min(self.used / self.limit, 1.0) if self.limit else 1.0


@lru_cache(maxsize=64)  # of the days and months that are being written there are two
def resets_at(period: str) -> datetime:
    """When a day (2026-11-25) or a month (2026-11) is over, UTC."""
    if len(period) > len("2026-11"):
        return datetime.strptime(period, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    first = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)
    return (first + timedelta(days=31)).replace(day=1)


def uses(bound: Bound, counts: Counts) -> list[Use]:
    """The limits of one allowance."""
    pairs = (
        ("requests", bound.requests, counts.requests),
        ("tokens", bound.tokens, counts.tokens + counts.tokens_held),
        ("cost", bound.cost_nano, counts.cost_nano + counts.cost_held_nano),
    )
    end = resets_at(bound.period)
    return [
        Use(what=what, limit=limit, used=used, resets_at=end)
        for what, limit, used in pairs
        if limit is not None
    ]


def headers(standing: Iterable[Use]) -> dict[str, str]:
    """`anthropic-ratelimit-*`: of several limits of one kind the one with the least left."""
    found = list(standing)
    said: dict[str, str] = {}
    for what in ("requests", "tokens"):
        tightest = min((u for u in found if u.what == what), key=_left, default=None)
        if tightest is not None:
            name = f"anthropic-ratelimit-{what}"
            said[f"{name}-limit"] = str(tightest.limit)
            said[f"{name}-remaining"] = str(tightest.remaining)
            said[f"{name}-reset"] = stamp(tightest.resets_at)
    # A minute is over before anybody has read a warning of it.
    lasting = [use for use in found if use.resets_at - datetime.now(UTC) > timedelta(minutes=2)]
    return said | unified(max(lasting, key=lambda use: use.utilization)) if lasting else said


def unified(use: Use, *, rejected: bool = False) -> dict[str, str]:
    """The same for one limit, as Claude Code reads a spend limit when it signed in to a gateway."""
    passed = [threshold for threshold in WARN_AT if use.utilization >= threshold]
    status = "rejected" if rejected else "allowed_warning" if passed else "allowed"
    end = str(int(use.resets_at.timestamp()))
    name = "anthropic-ratelimit-unified"
    said = {
        f"{name}-status": status,
        f"{name}-reset": end,
        f"{name}-representative-claim": "overage",
        f"{name}-overage-status": status,
        f"{name}-overage-reset": end,
        f"{name}-overage-utilization": f"{use.utilization:.4f}",
    }
    return said | {f"{name}-overage-surpassed-threshold": str(passed[-1])} if passed else said


def _left(use: Use) -> int:
    return use.remaining


def stamp(moment: datetime) -> str:
    """RFC 3339 as the API writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
