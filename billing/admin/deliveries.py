"""What Lago has told us, to read."""

from django.contrib import admin

from accounts.trailed import ReadOnlyAdmin
from billing.models import WebhookDelivery


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Webhooks that were taken, the newest first."""

    list_display = ["received_at", "webhook_type", "outcome", "unique_key"]
    list_filter = ["received_at"]
    search_fields = ["unique_key__exact", "webhook_type__exact"]
    search_help_text = "A unique key or a type of webhook, in full"
    ordering = ["-received_at", "-id"]
    fields = ["received_at", "webhook_type", "outcome", "unique_key"]
