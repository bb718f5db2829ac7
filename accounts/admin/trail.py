"""The audit trail in the admin, and who people are at Keycloak. Both are only read."""

from django.contrib import admin

from accounts.models import AuditEntry, Identity
from accounts.trailed import ReadOnlyAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The trail."""

    list_display = ["at", "actor", "action", "subject", "organization"]
    list_filter = ["action", "at"]
    list_select_related = ["organization"]
    search_fields = ["actor", "subject", "organization__name"]
    search_help_text = "Actor, subject or organization"
    ordering = ["-at", "-id"]


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
