"""What is so just now: machines, queue, limits near their end, alarms."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Min

from accounts.models import Organization
from billing import terms
from billing.allowances import ORGANIZATION
from billing.models import Alarm, Allowance
from billing.plans import Limits, Terms
from mcp.models import Approval, Connector, ToolCall
from mcp.shown import ONLINE
from mcp.states import State

NEAR_PERCENT = 80  # of a limit, from which on somebody should know
BUSIEST = 50  # subjects looked at, and
ORGANIZATIONS = 20  # organizations whose terms are read for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    online: int
    queued: int
    running: int
    oldest_s: int | None  # how long the oldest call has waited
    asked: int  # calls that wait for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A limit that is nearly used up, or is."""

    organization: str
    subject: str
    name: str
    percent: int


def machines(now: datetime) -> Machines:
    """Of all organizations. Each count goes by an index of what is open."""
    there = Connector.objects.filter(closed_at__isnull=True, last_seen_at__gte=now - ONLINE)
    queued = ToolCall.objects.filter(state=State.QUEUED.value)
    oldest = queued.aggregate(at=Min("created_at"))["at"]
    is_open = ToolCall.objects.filter(finished_at__isnull=True)
    return Machines(
        online=there.filter(kind=Connector.Kind.TUNNEL).count(),
        queued=queued.count(),
        running=is_open.exclude(state__in=[State.QUEUED.value, State.APPROVAL.value]).count(),
        oldest_s=None if oldest is None else max(int((now - oldest).total_seconds()), 0),
        asked=Approval.objects.filter(decided_at__isnull=True, expires_at__gt=now).count(),
    )


def alarms(most: int = 5) -> list[Alarm]:
    """The newest."""
    return list(Alarm.objects.order_by("-last_at")[:most])


def near(now: datetime) -> list[Near]:
    """Whoever has used most of a limit today or this month, the nearest to its end first."""
    today = now.astimezone(UTC)
    periods = [f"{today:%Y-%m-%d}", f"{today:%Y-%m}"]
    rows = Allowance.objects.filter(period__in=periods)
    busiest = {
        row.pk: row
        for by in ("-tokens", "-requests", "-cost_nano")
        for row in rows.order_by(by)[:BUSIEST]
    }
    wanted = list(dict.fromkeys(row.organization_id for row in busiest.values()))[:ORGANIZATIONS]
    agreed = terms.read_all(wanted)
    names = dict(Organization.objects.filter(pk__in=wanted).values_list("pk", "name"))
    found = [
        one
        for row in busiest.values()
        if row.organization_id in agreed
        for one in _near(row, agreed[row.organization_id], names)
    ]
    return sorted(found, key=lambda one: -one.percent)


def _near(row: Allowance, agreed: Terms, names: dict[UUID, str]) -> list[Near]:
    limits = agreed.cap if row.subject == ORGANIZATION else agreed.limits
    return [
        Near(
            organization=names.get(row.organization_id, str(row.organization_id)),
            subject=row.subject,
            name=name,
            percent=100 * used // limit,
        )
        for name, used, limit in _bounds(row, limits)
        if limit and 100 * used >= NEAR_PERCENT * limit
    ]


def _bounds(row: Allowance, limits: Limits) -> list[tuple[str, int, int | None]]:
    cost = row.cost_nano + row.cost_held_nano
    if len(row.period) == len("2026-11"):
        return [("cost this month", cost, limits.cost_per_month_nano)]
    return [
        ("requests today", row.requests, limits.requests_per_day),
        ("tokens today", row.tokens + row.tokens_held, limits.tokens_per_day),
        ("cost today", cost, limits.cost_per_day_nano),
    ]
