"""The admin's live page: machines that are there, calls that run, approvals that wait."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from mcp.models import Approval, Connector, ToolCall
from mcp.shown import ONLINE
from mcp.visible import in_one_line

MAY_LOOK = "mcp.view_toolcall"
BELL = "/admin/live/bell"
MOST = 50  # of each: what somebody can follow with their eyes


@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """What is so now. With `part`, the lists alone: the page asks for them when it is rung for."""
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    now = timezone.now()
    page: dict[str, Any] = {
        "at": now,
        "machines": _machines(now),
        "calls": _calls(now),
        "approvals": _approvals(now),
        "most": MOST,
    }
    if "part" in request.GET:
        return TemplateResponse(request, "admin/live_part.html", page)
    page |= admin.site.each_context(request) | {"title": "Live", "bell": BELL}
    return TemplateResponse(request, "admin/live.html", page)


def _machines(now: datetime) -> list[dict[str, Any]]:
    there = Connector.objects.filter(
        kind=Connector.Kind.TUNNEL, closed_at__isnull=True, last_seen_at__gte=now - ONLINE
    )
    rows = there.select_related("user", "organization").order_by("-opened_at", "pk")[:MOST]
    return [
        {
            "id": row.pk,
            "name": in_one_line(row.name),
            "who": row.user.username,
            "organization": row.organization.name,
            "transport": row.transport,
            "since": row.opened_at,
            "is_drained": row.drained_at is not None,
        }
        for row in rows
    ]


def _calls(now: datetime) -> list[dict[str, Any]]:
    rows: QuerySet[ToolCall] = ToolCall.objects.filter(finished_at__isnull=True)
    rows = rows.select_related("user", "connector").defer("params", "result")
    return [
        {
            "id": row.pk,
            "tool": in_one_line(f"{row.server}: {row.tool}"),
            "state": row.state,
            "machine": in_one_line(row.connector.name),
            "who": row.user.username,
            "seconds": max(int((now - row.created_at).total_seconds()), 0),
        }
        for row in rows.order_by("-id")[:MOST]
    ]


def _approvals(now: datetime) -> list[dict[str, Any]]:
    rows = Approval.objects.filter(decided_at__isnull=True, expires_at__gt=now)
    rows = rows.select_related("user", "connector", "call").defer("call__params", "call__result")
    return [
        {
            "id": row.pk,
            "tool": in_one_line(f"{row.call.server}: {row.call.tool}"),
            "machine": in_one_line(row.connector.name),
            "who": row.user.username,
            "left_s": max(int((row.expires_at - now).total_seconds()), 0),
        }
        for row in rows.order_by("expires_at", "pk")[:MOST]
    ]
