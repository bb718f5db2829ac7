"""Billing, Usage: for everybody: what one used oneself, and what one's organization did."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import ApiKey
from billing import usage as sums
from billing.serializers import moment
from mcp.visible import in_one_line
from opscenter.portal.pages import page, shown
from opscenter.portal.plot import PARTS, plotted
from opscenter.portal.usage_form import MINE, UsageQuestion, ends
from opscenter.portal.visitors import Visitor

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GROUPS_SHOWN = 50  # of a table that somebody reads; the export has all
TIMES_MOST = 367  # no range has more days, or hours
NAMED: dict[str, tuple[type[Model], str]] = {"key": (ApiKey, "name"), "user": (User, "username")}


@page()
def usage(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The sums, a plot, and a table of what was asked for."""
    form = UsageQuestion(request.GET.dict(), rules=visitor.rules)
    answer = _answer(form.cleaned_data, visitor) if form.is_valid() else {}
    return shown(request, "usage", visitor, form=form, **answer)


def today(visitor: Visitor, now: datetime) -> sums.Amounts:
    """What the visitor has used themselves since midnight."""
    _, ends_at = ends({"range": "7d"}, now)
    return sums.ask(_question(visitor, ends_at - DAY, ends_at, "day", MINE)).totals


def _answer(asked: dict[str, Any], visitor: Visitor) -> dict[str, Any]:
    starts_at, ends_at = ends(asked, timezone.now())
    grain, unit = (HOUR, "hour") if asked["range"] == "24h" else (DAY, "day")
    by_time = sums.ask(_question(visitor, starts_at, ends_at, unit, asked["whose"]))
    groups = sums.ask(_question(visitor, starts_at, ends_at, asked["by"], asked["whose"]))
    found = {group.by[unit]: group.amounts for group in by_time.groups}
    return {
        "starts_at": starts_at,
        "last": ends_at - grain,
        "unit": unit,
        "total": by_time.totals,
        "plot": plotted(found, starts_at, ends_at, grain),
        "parts": [(title, colour) for _, title, colour in PARTS],
        "times": [(group.by[unit], group.amounts) for group in by_time.groups],
        "by": asked["by"],
        "lines": _named(asked["by"], groups.groups),
        "has_more": groups.has_more,
        "export": _export(asked, visitor, starts_at, ends_at),
    }


def _question(
    visitor: Visitor, starts_at: datetime, ends_at: datetime, by: str, whose: str
) -> sums.Question:
    return sums.Question(
        starts_at=starts_at,
        ends_at=ends_at,
        group_by=(by,),
        organization_id=visitor.organization.pk,
        user_id=visitor.user.pk if whose == MINE else None,
        limit=TIMES_MOST if by in sums.TIMES else GROUPS_SHOWN,
    )


def _named(by: str, groups: Sequence[sums.Group]) -> list[tuple[str, sums.Amounts]]:
    """The groups under the names that people know; what is gone keeps its id."""
    names: dict[Any, str] = {}
    if by in NAMED:
        model, column = NAMED[by]
        rows = model._default_manager.only(column).in_bulk([group.by[by] for group in groups])
        names = {pk: getattr(row, column) for pk, row in rows.items()}
    values = [(group.by[by], group.amounts) for group in groups]
    return [(in_one_line(names.get(value) or str(value)), amounts) for value, amounts in values]


def _export(asked: dict[str, Any], visitor: Visitor, starts_at: datetime, ends_at: datetime) -> str:
    query = {
        "from": moment(starts_at),
        "to": moment(ends_at),
        "organization": str(visitor.organization.pk),
        "format": "csv",
    }
    if asked["whose"] == MINE:
        query["user"] = str(visitor.user.pk)
    return f"/api/v1/usage/export?{urlencode(query)}"
