"""Upstreams and routes in the admin."""

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from proxy.models import Route, Upstream


class Routes(TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Route
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Each row names its upstream."""
        routes: QuerySet[Route] = super().get_queryset(request)
        return routes.select_related("upstream")


@admin.register(Upstream)
class UpstreamAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ["name", "kind", "base_url", "credential_variable", "enabled"]
    list_filter = ["kind", "enabled"]
    search_fields = ["name", "base_url"]
    inlines = [Routes]

    def save_model(
        self, request: HttpRequest, obj: Upstream, form: "ModelForm[Upstream]", change: bool
    ) -> None:
        """Save, and say so when the credential it names is not there."""
        super().save_model(request, obj, form, change)
        name = obj.credential_variable
        if name and not settings.READ_CREDENTIAL(name):
            text = f"{name} is not set in this server's environment: put it into .env, start again."
            messages.warning(request, text)


@admin.register(Route)
class RouteAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ["pattern", "position", "upstream", "target_model", "display_name", "enabled"]
    list_editable = ["position", "enabled"]
    list_filter = ["upstream", "enabled"]
    list_select_related = ["upstream"]
    search_fields = ["pattern", "target_model", "display_name"]
