"""The audit trail in the admin, and who people are at Keycloak. Both are only read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator

from accounts.models import AuditEntry, Identity
from accounts.trailed import ReadOnlyAdmin

RECENT = 1000  # lines whose actions are offered as a filter


class ActionFilter(admin.SimpleListFilter):
    """The actions that were there lately: a trail that only grows is not searched for all."""

    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = AuditEntry.objects.order_by("-at", "-id").values_list("action", flat=True)
        return [(name, name) for name in sorted({*recent[:RECENT]})]

    def queryset(self, request: HttpRequest, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return rows.filter(action=self.value()) if self.value() else rows


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The trail."""

    list_display = ["at", "actor", "action", "subject", "organization"]
    list_filter = [ActionFilter, "at"]
    list_select_related = ["organization"]
    search_fields = ["actor", "subject", "organization__name"]
    search_help_text = "Actor, subject or organization"
    ordering = ["-at", "-id"]
    paginator = InfinitePaginator  # a trail only grows, and is never counted to show a page


@admin.register(Identity)
class IdentityAdmin(ReadOnlyAdmin):
    """Users by issuer and subject."""

    list_display = ["user", "subject", "issuer", "seen_at", "created_at"]
    list_filter = ["issuer", "seen_at"]
    list_select_related = ["user"]
    search_fields = ["subject", "user__username", "user__email"]
    search_help_text = "Subject, user or e-mail"
    ordering = ["-created_at"]
    fields = ["id", "user", "issuer", "subject", "created_at", "seen_at", "ended_at"]
