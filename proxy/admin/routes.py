"""Upstreams, routes and organizations' own credentials in the admin."""

import asyncio
from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action

from accounts.sane import SaneAdmin, SaneInline
from accounts.trailed import TrailedAdmin, actor
from proxy import credentials, probe, table
from proxy.aliases import DEFAULTS
from proxy.explain import NOBODY
from proxy.forms import Question, RouteFormSet, UpstreamForm
from proxy.models import OwnCredential, Route, Upstream
from proxy.routing import UpstreamConfig

TESTED_AT_ONCE = 10  # asked side by side, so that the page comes within probe.TOTAL_S


class Routes(SaneInline):
    model = Route
    formset = RouteFormSet
    extra = 0
    fields = ["pattern", "position", "weight", "target_model", "organization", "enabled"]
    autocomplete_fields = ["organization"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Each row names its upstream and its organization."""
        routes: QuerySet[Route] = super().get_queryset(request)
        return routes.select_related("upstream", "organization")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **more: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **more)
        if db_field.name == "organization" and field:
            field.widget = field.widget.widget  # without buttons that are wider than a phone
        return field


@admin.register(Upstream)
class UpstreamAdmin(TrailedAdmin):
    form = UpstreamForm
    list_display = ["name", "kind_code", "base_url", "credential_short", "route_count", "enabled"]
    list_filter = ["kind", "enabled"]
    search_fields = ["name", "base_url", "credential_variable"]
    search_help_text = "Name, address or variable"
    ordering = ["name"]
    inlines = [Routes]
    actions = ["test_selected"]
    actions_detail = ["test_this"]
    readonly_fields = ["credential_state", "known_aliases"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upstream]:
        upstreams: QuerySet[Upstream] = super().get_queryset(request)
        return upstreams.annotate(routes_there=Count("routes"))

    def get_fieldsets(self, request: HttpRequest, obj: Upstream | None = None) -> Any:
        credential = ["credential_variable", "credential_header"]
        if self.has_change_permission(request, obj):
            credential = ["credential", *(["forget_credential"] if obj else []), *credential]
        limits = [
            ("context_window", "max_output_tokens", "concurrency"),
            ("connect_s", "answer_s", "idle_s"),
            "headers",
        ]
        networks = ["tls_verify", "tls_ca", "private_networks"]
        return [
            (None, {"fields": ["name", "kind", "base_url", "enabled"]}),
            ("Credential", {"fields": ["credential_state", *credential] if obj else credential}),
            ("Limits, times and headers", {"classes": ["collapse"], "fields": limits}),
            (
                "Brigade",
                {"classes": ["collapse"], "fields": ["dialect", "aliases", "known_aliases"]},
            ),
            ("TLS and networks", {"classes": ["collapse"], "fields": networks}),
            ("Billing", {"classes": ["collapse"], "fields": ["meters_itself"]}),
        ]

    @admin.display(description="kind", ordering="kind")
    def kind_code(self, upstream: Upstream) -> str:
        return upstream.kind  # its label is a sentence, too long for a column

    @admin.display(description="credential")
    def credential_short(self, upstream: Upstream) -> str:
        return credentials.state(upstream)

    @admin.display(description="credential at present")
    def credential_state(self, upstream: Upstream) -> str:
        return credentials.problem(upstream) or credentials.state(upstream)

    @admin.display(description="known without being entered")
    def known_aliases(self, upstream: Upstream) -> str:
        return ", ".join(f"{name} → {agent}" for name, agent in DEFAULTS.items())

    @admin.display(description="routes", ordering="routes_there")
    def route_count(self, upstream: Any) -> int:
        return int(upstream.routes_there)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and say so when the credential it names is not there."""
        super().save_model(request, obj, form, change)
        credentials.recorded(obj, form.had, actor(request))
        name = obj.credential_variable
        if name and not settings.READ_CREDENTIAL(name):
            text = f"{name} is not set in this server's environment: put it into .env, start again."
            messages.warning(request, text)

    @admin.action(description="Test", permissions=["change"])
    def test_selected(self, request: HttpRequest, chosen: QuerySet[Upstream]) -> None:
        rows = list(chosen[: TESTED_AT_ONCE + 1])
        if len(rows) > TESTED_AT_ONCE:
            self.message_user(request, f"Choose at most {TESTED_AT_ONCE}.", messages.ERROR)
            return
        self._test(request, rows)

    @action(  # type: ignore[untyped-decorator]  # unfold ships no types
        description="Test this upstream", url_path="test", permissions=["change"]
    )
    def test_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        upstream = self.get_object(request, object_id)
        if upstream is None:
            raise Http404
        self._test(request, [upstream])
        page = reverse("admin:proxy_upstream_change", args=[upstream.pk])
        return HttpResponseRedirect(page)

    def _test(self, request: HttpRequest, upstreams: Sequence[Upstream]) -> None:
        configs = [table.config_of(upstream) for upstream in upstreams]
        for upstream, finding in zip(upstreams, async_to_sync(_tested)(configs), strict=True):
            level = messages.SUCCESS if finding.ok else messages.ERROR
            self.message_user(request, f"{upstream}: {finding} ({finding.ms} ms)", level)


async def _tested(configs: Sequence[UpstreamConfig]) -> list[probe.Finding]:
    return await asyncio.gather(*map(probe.tested, configs))


@admin.register(Route)
class RouteAdmin(TrailedAdmin):
    list_display = [
        "pattern",
        "position",
        "weight",
        "upstream",
        "target_model",
        "organization",
        "lifecycle",
        "enabled",
    ]
    list_editable = ["position", "weight", "enabled"]
    list_filter = ["upstream", "lifecycle", "enabled", ("organization", admin.EmptyFieldListFilter)]
    list_select_related = ["upstream", "organization"]
    search_fields = [
        "pattern",
        "target_model",
        "display_name",
        "upstream__name",
        "organization__name",
    ]
    search_help_text = "Model, name, upstream or organization"
    autocomplete_fields = ["upstream", "organization"]
    actions_list = ["explain"]
    fieldsets = [
        (None, {"fields": ["pattern", "upstream", "target_model", "organization", "enabled"]}),
        ("Order", {"fields": [("position", "weight")]}),
        ("For people", {"fields": ["display_name", "description", "lifecycle"]}),
        ("Tools", {"classes": ["collapse"], "fields": ["toolsets"]}),
    ]

    @action(  # type: ignore[untyped-decorator]  # unfold ships no types
        description="Explain a route", url_path="explain", permissions=["view"]
    )
    def explain(self, request: HttpRequest) -> HttpResponse:
        form = Question(request.GET if "model" in request.GET else None)
        page = {
            **self.admin_site.each_context(request),
            "title": "Explain a route",
            "opts": self.opts,
            "form": form,
            "media": self.media + form.media,
            "told": _told(form.cleaned_data) if form.is_valid() else None,
        }
        return TemplateResponse(request, "admin/proxy/route/explain.html", page)


def _told(asked: dict[str, Any]) -> dict[str, Any]:
    organization = asked["organization"].pk if asked["organization"] else NOBODY
    return async_to_sync(table.explain)(asked["model"], organization, asked["session"])


@admin.register(OwnCredential)
class OwnCredentialAdmin(SaneAdmin):
    """Seen and removed here, but never entered or read."""

    list_display = ["organization", "upstream", "fingerprint", "state", "updated_at"]
    list_filter = ["upstream"]
    list_select_related = ["organization", "upstream"]
    search_fields = ["organization__name", "upstream__name", "fingerprint"]
    fields = ["organization", "upstream", "fingerprint", "state", "updated_at", "created_at"]
    readonly_fields = fields
    ordering = ["-updated_at"]

    @admin.display(description="credential")
    def state(self, own: OwnCredential) -> str:
        return credentials.problem(own) or "stored"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OwnCredential | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: OwnCredential) -> None:
        credentials.forget_own(obj, actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[OwnCredential]) -> None:
        with transaction.atomic():
            for own in queryset:
                credentials.forget_own(own, actor(request))
