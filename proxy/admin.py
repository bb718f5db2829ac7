"""Upstreams and routes in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
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


@admin.register(Route)
class RouteAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ["pattern", "position", "upstream", "target_model", "display_name", "enabled"]
    list_editable = ["position", "enabled"]
    list_filter = ["upstream", "enabled"]
    list_select_related = ["upstream"]
    search_fields = ["pattern", "target_model", "display_name"]
