"""Admin pages whose every change leaves a line in the trail, and pages that change nothing."""

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts import audit, trail
from accounts.sane import SaneAdmin


def actor(request: HttpRequest) -> str:
    """Who is at the page, as the trail names them."""
    assert request.user.pk is not None  # noqa: S101  (the admin lets only signed-in people in)
    return audit.user(request.user.pk)


class TrailedAdmin(SaneAdmin):
    """A page whose every change leaves a line in the trail."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        was = trail.before(obj)
        super().save_model(request, obj, form, change)
        trail.saved(obj, was, actor(request))

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        trail.deleted(obj, actor(request))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for row in queryset:
                trail.deleted(row, actor(request))
            super().delete_queryset(request, queryset)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """The rows below the form leave the same lines."""
        rows = formset.save(commit=False)
        for row in formset.deleted_objects:
            trail.deleted(row, actor(request))
            row.delete()
        for row in rows:
            trail.save(row, actor(request))
        formset.save_m2m()


class ReadOnlyAdmin(SaneAdmin):
    """A page that shows what the server wrote. Nobody changes it here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
