"""The processes that serve, to read."""

from django.contrib import admin

from accounts.trailed import ReadOnlyAdmin
from billing.models import Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Who counts its beat up lives; who stopped is settled by the sweeper."""

    list_display = ["name", "beat", "started_at", "id"]
    search_fields = ["name"]
    ordering = ["-started_at"]
    fields = ["name", "id", "beat", "started_at"]
