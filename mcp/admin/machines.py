"""Machines in the admin: whether they are there, whose they are, what they front."""

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.decorators import display

from accounts import audit, trail
from accounts.trailed import ReadOnlyAdmin, actor
from mcp.admin import shapes
from mcp.models import Connector, ToolCall
from mcp.shown import ONLINE, is_online

DRAINED, RESUMED = "connector.drained", "connector.resumed"
ONLINE_COLOURS = {"online": "success", "drained": "danger", "offline": "warning", "gateway": "info"}
AT_ONCE = 100  # a page of the list
LINKED_AT_MOST = 64  # a machine has no more servers


class OnlineFilter(admin.SimpleListFilter):
    """Machines that calls reach now, and others."""

    title = "there now"
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Online"), ("no", "Offline")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Connector]) -> QuerySet[Connector]:
        seen = Q(last_seen_at__isnull=False, last_seen_at__gte=timezone.now() - ONLINE)
        here = Q(kind=Connector.Kind.GATEWAY) | Q(seen, closed_at__isnull=True)
        match self.value():
            case "yes":
                return rows.filter(here)
            case "no":
                return rows.exclude(here)
            case _:
                return rows


@admin.register(Connector)
class ConnectorAdmin(ReadOnlyAdmin):
    """Those that were there last come first."""

    list_display = [
        "name",
        "there_now",
        "its_transport",
        "last_seen_at",
        "server_count",
        "user",
        "organization",
        "agent",
    ]
    list_filter = [OnlineFilter, "kind", "transport", "last_seen_at"]
    list_select_related = ["organization", "user"]
    search_fields = ["name"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "The beginning of a name, a user name, or an id or instance, in full"
    ordering = ["-last_seen_at", "-created_at"]
    actions = ["drain", "resume"]
    compressed_fields = False  # labels above their fields: several stand in a row
    fieldsets = [
        ("Machine", {"fields": [("name", "there_now", "kind"), ("agent", "platform")]}),
        ("Whose", {"fields": [("organization", "user", "key_id")]}),
        (
            "Session",
            {
                "fields": [
                    ("its_transport", "epoch", "max_in_flight"),
                    ("opened_at", "last_seen_at", "closed_at", "drained_at"),
                    ("id", "instance", "created_at"),
                ]
            },
        ),
        ("What it fronts", {"fields": ["its_servers", "open_calls"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connector]:
        rows: QuerySet[Connector] = super().get_queryset(request)
        return rows.select_related("organization", "user").annotate(servers_there=Count("servers"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Connector], search_term: str
    ) -> tuple[QuerySet[Connector], bool]:
        """Ids in full, names by their beginnings."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(name__istartswith=term) | Q(user__username=term)
        with suppress(ValueError):
            wanted |= Q(id=UUID(term)) | Q(instance=UUID(term))
        return queryset.filter(wanted), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row and what stands beside it, asked for once: a page reads each field many times."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.its_servers_there = list(row.servers.order_by("name")[:LINKED_AT_MOST])
            row.calls_there = ToolCall.objects.filter(
                connector=row, finished_at__isnull=True
            ).count()
        return row

    def has_drain_permission(self, request: HttpRequest) -> bool:
        """Draining changes machines, although nobody edits one."""
        return request.user.has_perm("mcp.change_connector")

    @admin.action(description="Drain", permissions=["drain"])
    def drain(self, request: HttpRequest, chosen: QuerySet[Connector]) -> None:
        count = _changed(request, chosen.filter(drained_at__isnull=True), timezone.now(), DRAINED)
        text = f"{count} end what they have, and are given no more calls until they are resumed."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description="Resume", permissions=["drain"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Connector]) -> None:
        count = _changed(request, chosen.filter(drained_at__isnull=False), None, RESUMED)
        text = f"{count} are given calls again."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    @display(description="there now", label=ONLINE_COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def there_now(self, row: Connector) -> str:
        if row.drained_at is not None:
            return "drained"
        if row.kind == Connector.Kind.GATEWAY:
            return "gateway"
        return "online" if is_online(row, now=timezone.now()) else "offline"

    @admin.display(description="transport", ordering="transport")
    def its_transport(self, row: Connector) -> str:
        is_there = row.transport != Connector.Transport.NONE
        return Connector.Transport(row.transport).label if is_there else "-"

    @admin.display(description="servers", ordering="servers_there")
    def server_count(self, row: Any) -> int:
        return int(row.servers_there)

    @admin.display(description="MCP servers")
    def its_servers(self, row: Any) -> str:
        links = [
            (shapes.link("mcpserver", one.pk, one.name), one.state) for one in row.its_servers_there
        ]
        return format_html_join("", "<div>{} ({})</div>", links) or "-"

    @admin.display(description="open calls")
    def open_calls(self, row: Any) -> int:
        return int(row.calls_there)


def _changed(
    request: HttpRequest, rows: QuerySet[Connector], at: datetime | None, action: str
) -> int:
    """Drain or resume these, with a line in the trail for each; how many they were."""
    with transaction.atomic():
        found = list(rows.order_by("pk")[:AT_ONCE])
        Connector.objects.filter(pk__in=[row.pk for row in found]).update(drained_at=at)
        for row in found:
            told = {"name": row.name}
            audit.record(action, trail.subject(row), actor(request), row.organization, told)
    return len(found)
