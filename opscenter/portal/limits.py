"""One's plan: what it allows, what is left of it, and when it begins anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import audit
from billing import current, money, terms
from billing.allowances import ORGANIZATION
from billing.current import Standing
from billing.plans import Limits
from opscenter.portal.pages import page, shown
from opscenter.portal.visitors import Visitor

TITLES = {
    "requests_per_day": "Requests a day",
    "tokens_per_day": "Tokens a day",
    "cost_per_day_nano": "Money a day",
    "cost_per_month_nano": "Money a month",
}
NEAR_PERCENT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One limit, in words."""

    title: str
    limit: str  # empty: there is none
    used: str
    held: str  # by requests under way; empty: nothing
    left: str
    percent: int
    resets_at: datetime

    @property
    def tone(self) -> str:
        """How near its end it is."""
        return "full" if self.percent >= 100 else "near" if self.percent >= NEAR_PERCENT else ""


@page()
def limits(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The visitor's own limits, and for whoever rules the organization its caps."""
    agreed = terms.read(visitor.organization.pk)
    return shown(
        request,
        "limits",
        visitor,
        agreed=agreed,
        own=standing(visitor, audit.user(visitor.user.pk), agreed.limits),
        caps=standing(visitor, ORGANIZATION, agreed.cap) if visitor.rules else [],
        has_caps=agreed.cap.counts_days or agreed.cap.counts_months,
    )


def standing(visitor: Visitor, subject: str, limits: Limits) -> Sequence[Shown]:
    """Where somebody stands with each limit."""
    now = timezone.now()
    found = current.of(visitor.organization.pk, subject, limits, now=now)
    return [_shown(each) for each in found]


def _shown(each: Standing) -> Shown:
    is_money = each.name.endswith("_nano")
    taken = each.used + each.held

    def said(amount: int) -> str:
        return money.short(amount) if is_money else f"{amount:,}"

    return Shown(
        title=TITLES[each.name],
        limit="" if each.limit is None else said(each.limit),
        used=said(each.used),
        held=said(each.held) if each.held else "",
        left="" if each.remaining is None else said(each.remaining),
        percent=_percent(taken, each.limit),
        resets_at=each.resets_at,
    )


def _percent(taken: int, limit: int | None) -> int:
    if limit is None:
        return 0
    # A limit of nothing is used up from its beginning.
    return min(max(100 * taken // limit, 0), 100) if limit else 100
