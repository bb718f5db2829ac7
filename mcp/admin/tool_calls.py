"""Tool calls in the admin: to read, to follow step by step, and to stop."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from accounts import audit, trail
from accounts.trailed import ReadOnlyAdmin, actor
from billing.admin import links
from mcp import tools
from mcp.admin import shapes
from mcp.models import ToolCall, ToolCallEvent
from mcp.states import State
from mcp.views.tool_calls import owner_of

CANCELLED = "toolcall.cancelled"
AT_ONCE = 100  # a page of the list; each is asked by itself
EVENTS_SHOWN = 200  # a call that is handed out again and again says the same things

FIELDSETS: list[tuple[str, dict[str, Any]]] = [
    (
        "Call",
        {
            "fields": [
                ("coloured_state", "outcome", "cancellation"),
                ("server", "tool", "method"),
                ("id", "request_id", "tool_use_id"),
                "its_step",
            ]
        },
    ),
    ("Who", {"fields": [("organization", "user", "machine")]}),
    (
        "Life",
        {
            "fields": [
                "timeline",
                ("created_at", "started_at", "finished_at"),
                ("deadline", "lease_until", "waiter"),
                ("has_effects", "deliveries", "starts", "fence"),
                "last_progress",
            ]
        },
    ),
    ("What was asked", {"fields": ["asked"]}),
    ("What came of it", {"fields": ["answered", "digest"]}),
]


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnlyAdmin):
    """The newest first. What was asked and answered stands on a call's own page alone."""

    list_display = [
        "created_at",
        "coloured_state",
        "server",
        "tool",
        "waited",
        "took",
        "machine",
        "user",
        "organization",
    ]
    list_filter = ["state", "has_effects", "cancel_requested", "created_at"]
    search_fields = ["id"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "The id of a call, of a request or of a machine, in full"
    ordering = ["-id"]  # by time, as ids are; an index of times would cost each change of a call
    list_per_page = 25
    # A history of millions is never counted to show a page.
    paginator = InfinitePaginator
    compressed_fields = False  # labels above their fields: several stand in a row
    fieldsets = FIELDSETS
    actions = ["cancel"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolCall]:
        rows: QuerySet[ToolCall] = super().get_queryset(request)
        rows = rows.select_related("organization", "user", "connector")
        return rows if _is_of_one(request) else rows.defer("params", "result")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ToolCall], search_term: str
    ) -> tuple[QuerySet[ToolCall], bool]:
        """Exact matches only: a history of millions is not searched through."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(request_id=term)
        with suppress(ValueError):
            wanted |= Q(id=UUID(term)) | Q(connector_id=UUID(term))
        return queryset.filter(wanted), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row and its events, asked for once: a page reads each field many times."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.events_there = list(row.events.order_by("id")[:EVENTS_SHOWN])
            row.may_cancel = self.has_cancel_permission(request)
        return row

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Cancelling changes calls, although nobody edits one."""
        return request.user.has_perm("mcp.change_toolcall")

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[ToolCall]) -> None:
        rows = list(chosen.filter(finished_at__isnull=True).order_by("pk")[: AT_ONCE + 1])
        if len(rows) > AT_ONCE:
            self.message_user(request, f"Choose at most {AT_ONCE}.", messages.ERROR)
            return
        asked = [row for row in rows if async_to_sync(tools.cancel)(owner_of(row), row.pk)]
        for row in asked:
            told = {"server": row.server, "tool": row.tool}
            audit.record(CANCELLED, trail.subject(row), actor(request), row.organization, told)
        text = f"{len(asked)} asked to stop." if asked else "None of them is open."
        self.message_user(request, text, messages.SUCCESS if asked else messages.WARNING)

    @display(description="state", ordering="state", label=shapes.COLOURS_OF_STATES)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, row: ToolCall) -> str:
        return row.state

    @admin.display(description="machine")
    def machine(self, row: ToolCall) -> str:
        return shapes.link("connector", row.connector_id, row.connector.name)

    @admin.display(description="called by the answer of")
    def its_step(self, row: ToolCall) -> str:
        return links.to_record(row.step)

    @admin.display(description="waited")
    def waited(self, row: ToolCall) -> str:
        return shapes.span(row.created_at, row.started_at or row.finished_at)

    @admin.display(description="took")
    def took(self, row: ToolCall) -> str:
        return shapes.span(row.started_at, row.finished_at)

    @admin.display(description="step by step")
    def timeline(self, row: Any) -> str:
        lines = _lines(row.created_at, row.events_there)
        return format_html_join("", '<div class="mcp-event">{} {}</div>', lines) or "-"

    @admin.display(description="progress")
    def last_progress(self, row: ToolCall) -> str:
        return shapes.json_value(row.progress)

    @admin.display(description="params")
    def asked(self, row: ToolCall) -> str:
        return shapes.json_text(row.params)

    @admin.display(description="result or error")
    def answered(self, row: ToolCall) -> str:
        return shapes.json_text(row.result)

    @admin.display(description="cancelling")
    def cancellation(self, row: Any) -> str:
        """A button while it is open. It sends the list's action, for this call alone."""
        if row.finished_at is not None or not row.may_cancel:
            return "asked for" if row.cancel_requested else "-"
        return format_html(
            '<input type="hidden" name="_selected_action" value="{}">'
            '<button type="submit" formaction="{}" name="action" value="cancel"'
            ' class="bg-primary-600 text-white rounded-default px-3 py-2 font-medium">{}</button>',
            row.pk,
            reverse("admin:mcp_toolcall_changelist"),
            "Ask again to stop" if row.cancel_requested else "Cancel",
        )


def _is_of_one(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.url_name == "mcp_toolcall_change"


def _lines(began: Any, events: list[ToolCallEvent]) -> list[tuple[str, str]]:
    """What happened, each with the time since the call was made."""
    lines = []
    for event in events:
        text = f"{event.state}, hand-out {event.fence}" if event.fence else event.state
        if event.state == State.QUEUED and event.fence:
            text = f"back in the queue after hand-out {event.fence}"
        lines.append((f"+{shapes.span(began, event.at)}", text))
    return lines
