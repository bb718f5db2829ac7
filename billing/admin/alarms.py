"""What an operator should look at, and the button that says it was seen to."""

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import audit, trail
from accounts.trailed import ReadOnlyAdmin, actor
from billing.models import Alarm

RESOLVED = "alarm.resolved"


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """The newest first. One that was resolved comes back when it happens again."""

    list_display = ["last_at", "code", "subject", "count", "detail", "first_at"]
    list_filter = ["code", "last_at"]
    search_fields = ["subject__exact"]
    search_help_text = "A model, upstream or organization, in full"
    ordering = ["-last_at", "-id"]
    fields = ["code", "subject", "detail", "count", "first_at", "last_at"]
    actions = ["resolve"]

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Resolving takes the row away, so it needs the permission to delete."""
        return request.user.has_perm("billing.delete_alarm")

    @admin.action(description="Resolve", permissions=["resolve"])
    def resolve(self, request: HttpRequest, chosen: QuerySet[Alarm]) -> None:
        with transaction.atomic():
            alarms = list(chosen)
            for alarm in alarms:
                told = {"code": alarm.code, "subject": alarm.subject, "count": alarm.count}
                audit.record(RESOLVED, trail.subject(alarm), actor(request), None, told)
            Alarm.objects.filter(pk__in=[alarm.pk for alarm in alarms]).delete()
        self.message_user(request, f"{len(alarms)} resolved.", messages.SUCCESS)
