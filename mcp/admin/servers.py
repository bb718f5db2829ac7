"""MCP servers in the admin, with the tools they offer."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.trailed import ReadOnlyAdmin
from mcp.admin import shapes
from mcp.models import McpServer, McpTool

STATE_COLOURS = {"ready": "success", "starting": "info", "failed": "danger"}
TOOLS_SHOWN = 128  # with their schemas; of the few servers with more, the first ones


@admin.register(McpServer)
class McpServerAdmin(ReadOnlyAdmin):
    """As their machines described them last."""

    list_display = [
        "name",
        "coloured_state",
        "machine",
        "user",
        "organization",
        "transport",
        "era",
        "tool_count",
        "updated_at",
    ]
    list_filter = ["state", "transport", "updated_at"]
    search_fields = ["name"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "The beginning of a name, a user name or an id, in full"
    ordering = ["-updated_at", "-id"]
    compressed_fields = False  # labels above their fields: several stand in a row
    fieldsets = [
        (
            "Server",
            {
                "fields": [
                    ("name", "title", "version"),
                    ("coloured_state", "transport", "era"),
                    ("error", "url"),
                ]
            },
        ),
        ("Where", {"fields": [("machine", "user", "organization")]}),
        ("Kept", {"fields": [("registered_at", "updated_at"), "digest", "id"]}),
        ("Tools", {"fields": ["its_tools"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[McpServer]:
        rows: QuerySet[McpServer] = super().get_queryset(request)
        rows = rows.select_related("connector__organization", "connector__user")
        return rows.annotate(tools_there=Count("tools"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[McpServer], search_term: str
    ) -> tuple[QuerySet[McpServer], bool]:
        """Ids in full, names by their beginnings."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(name__istartswith=term) | Q(connector__user__username=term)
        with suppress(ValueError):
            wanted |= Q(id=UUID(term)) | Q(connector_id=UUID(term))
        return queryset.filter(wanted), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row and its tools, asked for once: a page reads each field many times."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.its_tools_there = list(row.tools.order_by("position")[:TOOLS_SHOWN])
        return row

    @display(description="state", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, row: McpServer) -> str:
        return row.state

    @admin.display(description="machine")
    def machine(self, row: McpServer) -> str:
        return shapes.link("connector", row.connector_id, row.connector.name)

    @admin.display(description="user")
    def user(self, row: McpServer) -> str:
        return row.connector.user.get_username()

    @admin.display(description="organization")
    def organization(self, row: McpServer) -> str:
        return str(row.connector.organization)

    @admin.display(description="tools", ordering="tools_there")
    def tool_count(self, row: Any) -> int:
        return int(row.tools_there)

    @admin.display(description="tools")
    def its_tools(self, row: Any) -> str:
        shown = format_html_join("", "{}", ((_tool(one),) for one in row.its_tools_there))
        more = row.tools_there - len(row.its_tools_there)
        return format_html("{}<div>… and {} more</div>", shown, more) if more > 0 else shown or "-"


def _tool(tool: McpTool) -> SafeString:
    """One that opens: forty schemas at once are a wall."""
    definition = {"inputSchema": tool.input_schema}
    if tool.output_schema is not None:
        definition["outputSchema"] = tool.output_schema
    if tool.annotations:
        definition["annotations"] = tool.annotations
    return format_html(
        '<details class="mcp-tool"><summary>{}</summary><p>{}</p>{}</details>',
        tool.name,
        tool.description[: shapes.SHOWN_CHARS],
        shapes.json_value(definition),
    )
