"""The ledger in the admin: to read, never to change."""

from django.contrib import admin
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
    search_fields = ["=id", "=session_id", "=requested_model"]
    search_help_text = "A request id without req_, a session id or a model name, whole."
    ordering = ["-admitted_at"]
    show_full_result_count = False  # a ledger of millions is never counted to show a page
    exclude = ["user", "api_key"]
    readonly_fields = ["user_id", "api_key_id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from requests alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        """A closed row is never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        """What was used was used."""
        return False
