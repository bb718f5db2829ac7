"""The ledger in the admin: to read, never to change."""

from contextlib import suppress
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from billing.models import UsageRecord


@admin.register(UsageRecord)
class UsageRecordAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = [
        "admitted_at",
        "organization",
        "requested_model",
        "upstream",
        "state",
        "status",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "duration_ms",
    ]
    list_filter = ["state", "upstream", "streamed", "admitted_at"]
    list_select_related = ["organization"]
    search_fields = ["id"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "A request id, a session id or a model name, in full"
    ordering = ["-admitted_at"]
    list_per_page = 25
    show_full_result_count = False  # a ledger of millions is never counted to show a page
    exclude = ["user", "api_key"]
    readonly_fields = ["user_id", "api_key_id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord], search_term: str
    ) -> tuple[QuerySet[UsageRecord], bool]:
        """Exact matches only: a ledger of millions is not searched through."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(session_id=term) | Q(requested_model=term)
        with suppress(ValueError):  # a session's id may look like a request's
            wanted |= Q(id=UUID(term.removeprefix("req_")))
        return queryset.filter(wanted), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from requests alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        """A closed row is never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        """What was used was used."""
        return False
