"""Approvals and the audit of calls, to read. Answers are given on a page of their own."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from accounts.trailed import ReadOnlyAdmin
from mcp.admin import shapes
from mcp.models import Approval, AuditedCall

COLOURS = {
    "pending": "info",
    "approved": "success",
    "refused": "danger",
    "expired": "warning",
    "withdrawn": "warning",
}


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """What persons were asked, and what they said. The newest first."""

    list_display = [
        "created_at",
        "coloured_state",
        "asked_by",
        "its_call",
        "user",
        "organization",
        "decider",
        "source",
        "place",
    ]
    list_filter = ["state", "asked_by", "source", "created_at"]
    ordering = ["-created_at", "-id"]
    list_per_page = 25
    paginator = InfinitePaginator
    compressed_fields = False
    fieldsets = [
        ("Question", {"fields": [("coloured_state", "asked_by", "here_only"), "reason", "digest"]}),
        ("Call", {"fields": [("its_call", "user", "organization"), "asked"]}),
        (
            "Answer",
            {
                "fields": [
                    ("decider", "decided_by", "decided_at"),
                    ("source", "place"),
                    ("created_at", "expires_at"),
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        rows: QuerySet[Approval] = super().get_queryset(request)
        return rows.select_related("call", "user", "organization").defer("call__result")

    @display(description="state", ordering="state", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, row: Approval) -> str:
        return row.state

    @admin.display(description="call")
    def its_call(self, row: Approval) -> str:
        return shapes.link("toolcall", row.call_id, f"{row.call.server}/{row.call.tool}")

    @admin.display(description="params")
    def asked(self, row: Approval) -> str:
        return shapes.json_text(row.call.params)


@admin.register(AuditedCall)
class AuditedCallAdmin(ReadOnlyAdmin):
    """The chain of each organization. `manage.py verifyaudit` says whether it is whole."""

    list_display = ["number", "organization", "what", "state", "who", "began", "written_at"]
    list_filter = ["organization", "written_at"]
    search_fields = ["call"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "The id of a call, in full"
    ordering = ["-written_at", "-number"]
    list_per_page = 25
    paginator = InfinitePaginator
    compressed_fields = False
    fieldsets = [
        ("Chain", {"fields": [("number", "organization", "written_at"), "previous", "hash"]}),
        ("Call", {"fields": ["call", "all_told"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditedCall]:
        rows: QuerySet[AuditedCall] = super().get_queryset(request)
        return rows.select_related("organization")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditedCall], search_term: str
    ) -> tuple[QuerySet[AuditedCall], bool]:
        """Exact matches only: a history of millions is not searched through."""
        if not (wanted := search_term.strip()):
            return queryset, False
        found = shapes.uuid_of(wanted)
        return queryset.filter(Q(call=found) if found else Q(pk__in=[])), False

    @admin.display(description="tool")
    def what(self, row: AuditedCall) -> str:
        said = _told(row)
        return f"{said.get('server')}/{said.get('tool')}"

    @admin.display(description="state")
    def state(self, row: AuditedCall) -> str:
        return str(_told(row).get("state"))

    @admin.display(description="user")
    def who(self, row: AuditedCall) -> str:
        return str(_told(row).get("user", {}).get("name"))

    @admin.display(description="asked for at")
    def began(self, row: AuditedCall) -> str:
        return str(_told(row).get("created_at"))

    @admin.display(description="what is known of it")
    def all_told(self, row: AuditedCall) -> str:
        return shapes.json_text(row.told)


def _told(row: AuditedCall) -> dict[str, Any]:
    """Whatever somebody made of it: the page must show a row that was tampered with too."""
    try:
        found = json.loads(row.told)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
