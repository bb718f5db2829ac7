"""The page of usage: who used what, and what it cost."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from accounts.models import ApiKey, Organization
from billing import money
from billing.admin import usage_query
from billing.admin.usage_form import MOST_DAYS, UsageQuestion, days
from billing.admin.usage_query import Line

MAY_LOOK = "billing.view_usagerollup"
MOST_LINES = 200  # of a table that somebody reads; the whole is there to be exported
COLUMNS = [
    "Cost",
    "Requests",
    "Failed",
    "Input",
    "Output",
    "Cache read",
    "Cache write 5 m",
    "Cache write 1 h",
    "Server tools",
]
FIRST_QUESTION = {"range": "7d", "group": "day"}


def usage(request: HttpRequest) -> HttpResponse:
    """A table with its sums, and a bar for each day."""
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    form = UsageQuestion(FIRST_QUESTION | request.GET.dict())
    page = {
        **admin.site.each_context(request),
        "title": "Usage",
        "form": form,
        "media": form.media,
        **(_answer(form.cleaned_data) if form.is_valid() else {}),
    }
    return TemplateResponse(request, "admin/billing/usage.html", page)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    group = asked["group"]
    first, last = days(asked, timezone.now().date())
    organization = asked["organization"].pk if asked["organization"] else None
    by_day = usage_query.lines("day", first, last, organization, MOST_DAYS)
    found = by_day
    if group != "day":
        found = usage_query.lines(group, first, last, organization, MOST_LINES + 1)
    shown = found if group == "day" else found[:MOST_LINES]
    total = usage_query.total(first, last, organization)
    names = _names(group, [line.group for line in shown])
    return {
        "first": first,
        "last": last,
        "group": group,
        "columns": COLUMNS,
        "lines": [(names.get(line.group) or _named(line.group), _cells(line)) for line in shown],
        "more": len(found) > len(shown),
        "total": total,
        "sums": _cells(total),
        "bars": bars(by_day, first, last),
    }


def _cells(line: Line) -> list[str]:
    """A line's cells, in the order of the columns."""
    counts = (
        line.requests,
        line.failed,
        line.input_tokens,
        line.output_tokens,
        line.cache_read_tokens,
        line.cache_write_5m_tokens,
        line.cache_write_1h_tokens,
        line.server_tool_uses,
    )
    return [money.short(line.cost_nano), *(f"{count:,}" for count in counts)]


def _named(group: Any) -> str:
    if isinstance(group, datetime):
        return f"{group.astimezone(UTC):%Y-%m-%d}"
    return str(group) if group not in ("", None) else "(none)"


def _names(group: str, ids: Sequence[Any]) -> dict[Any, str]:
    """What people call the rows; who is gone keeps the id."""
    models: dict[str, type[Model]] = {"user": User, "organization": Organization, "key": ApiKey}
    if group not in models:
        return {}
    return {row.pk: str(row) for row in models[group]._default_manager.filter(pk__in=ids)}


def bars(by_day: Sequence[Line], first: date, last: date) -> dict[str, Any]:
    """A bar for each day: of its cost, or of its requests where nothing cost anything."""
    by_cost = any(line.cost_nano for line in by_day)
    sizes = {line.group.date(): line.cost_nano if by_cost else line.requests for line in by_day}
    most = max(sizes.values(), default=0)
    every = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {
        "what": "Cost" if by_cost else "Requests",
        "most": _size(most, by_cost),
        "each": [
            {
                "day": day,
                "text": _size(sizes.get(day, 0), by_cost),
                # Corrections may bring a day below nothing; such a bar is not there.
                "percent": max(100 * sizes.get(day, 0) // most, 0) if most > 0 else 0,
            }
            for day in every
        ],
    }


def _size(size: int, by_cost: bool) -> str:
    return money.short(size) if by_cost else f"{size:,} requests"
