"""How much of its limits a subject has used, and what is left."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q, Sum

from accounts.models import ApiKey
from billing.allowances import ORGANIZATION, Counts
from billing.models import Allowance, UsageRollup
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
    names = {f"{prefix}{midnight:%Y-%m-%d}": midnight, f"{prefix}{first:%Y-%m}": first}
    found = Allowance.objects.filter(id__in=names).values_list("id", *Counts._fields)
    counted = {name: Counts(*amounts) for name, *amounts in found}
    is_counted = (limits.counts_days, limits.counts_months)
    day, month = (
        counted.get(name) or (Counts() if limited else _closed(organization_id, subject, starts_at))
        for (name, starts_at), limited in zip(names.items(), is_counted, strict=True)
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


def _closed(organization_id: UUID, subject: str, starts_at: datetime) -> Counts:
    sums = UsageRollup.objects.filter(
        _whose(subject),
        kind=UsageRollup.Kind.DAY,
        organization_id=organization_id,
        starts_at__gte=starts_at,
    ).aggregate(
        all_requests=Sum("requests"),
        all_input=Sum("input_tokens"),
        all_5m=Sum("cache_write_5m_tokens"),
        all_1h=Sum("cache_write_1h_tokens"),
        all_output=Sum("output_tokens"),
        all_cost=Sum("cost_nano"),
    )
    found = {name: int(value or 0) for name, value in sums.items()}
    tokens = found["all_input"] + found["all_5m"] + found["all_1h"] + found["all_output"]
    return Counts(requests=found["all_requests"], tokens=tokens, cost_nano=found["all_cost"])


def _whose(subject: str) -> Q:
    kind, _, name = subject.partition(":")
    if kind == ORGANIZATION:
        return Q()
    if kind == "key":
        return Q(api_key_id=name)
    own = ApiKey.objects.filter(user_id=int(name), is_service=True)  # these stand for themselves
    return Q(user_id=int(name)) & ~Q(api_key_id__in=own.values("id"))
