"""How much of its limits a subject has used, and what is left."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from billing import allowances
from billing.allowances import Counts
from billing.models import Allowance
from billing.plans import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One limit. None for what has no end."""

    name: str
    limit: int | None
    used: int
    held: int  # by requests under way, until it is known what they use
    resets_at: datetime

    @property
    def remaining(self) -> int | None:
        """What may still be used."""
        return None if self.limit is None else max(self.limit - self.used - self.held, 0)


def of(organization_id: UUID, subject: str, limits: Limits, *, now: datetime) -> list[Standing]:
    """Where the subject stands with each limit that is counted by day or month.

    The allowances count what is limited. For the rest the closed requests of the ledger count.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    tomorrow = midnight + timedelta(days=1)
    next_month = (first + timedelta(days=32)).replace(day=1)
    prefix = f"{organization_id.hex}/{subject}/"
    periods = [f"{midnight:%Y-%m-%d}", f"{first:%Y-%m}"]
    is_counted = (limits.counts_days, limits.counts_months)
    wanted = [f"{prefix}{p}" for p, limited in zip(periods, is_counted, strict=True) if limited]
    found = Allowance.objects.filter(id__in=wanted).values_list("period", *Counts._fields)
    counted = {period: Counts(*amounts) for period, *amounts in found}
    day, month = (
        counted[period]
        if period in counted
        else allowances.used_before(organization_id, subject, period)
        for period in periods
    )
    return [
        Standing(
            name="requests_per_day",
            limit=limits.requests_per_day,
            used=day.requests,
            held=0,  # a request counts from its admission on
            resets_at=tomorrow,
        ),
        Standing(
            name="tokens_per_day",
            limit=limits.tokens_per_day,
            used=day.tokens,
            held=day.tokens_held,
            resets_at=tomorrow,
        ),
        Standing(
            name="cost_per_day_nano",
            limit=limits.cost_per_day_nano,
            used=day.cost_nano,
            held=day.cost_held_nano,
            resets_at=tomorrow,
        ),
        Standing(
            name="cost_per_month_nano",
            limit=limits.cost_per_month_nano,
            used=month.cost_nano,
            held=month.cost_held_nano,
            resets_at=next_month,
        ),
    ]
