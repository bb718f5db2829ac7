"""Who is on which plan, what caps the whole organization, and who is suspended."""

from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import audit, trail
from accounts.trailed import TrailedAdmin, actor
from billing import money, terms
from billing.admin import links, usage_query
from billing.admin.fields import DollarsAdmin
from billing.admin.plans import LIMITS
from billing.models import Allowance, Subscription

SUSPENDED = "subscription.suspended"
RESUMED = "subscription.resumed"
AT_ONCE = 200  # two pages of the list
USE = "Used by the whole organization"

State = Subscription.State
STATE_COLOURS = {State.ACTIVE: "success", State.SUSPENDED: "danger"}


class SubscriptionForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """A subscription; whoever is suspended is told why."""

    class Meta:
        model = Subscription
        fields = "__all__"  # noqa: DJ007  (the page names what it shows)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("state") == State.SUSPENDED and not data.get("reason"):
            self.add_error("reason", "Say why: the organization's users read it.")
        if data.get("state") == State.ACTIVE:
            data["reason"] = ""
        return data

    def clean_external_id(self) -> str | None:
        """Empty is no id, and there may be many without one."""
        return self.cleaned_data.get("external_id") or None


class Reason(forms.Form):
    """Why organizations are suspended."""

    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Their users read it in every refusal.",
    )


@admin.register(Subscription)
class SubscriptionAdmin(DollarsAdmin, TrailedAdmin):
    """One for each organization; those without one are on the default plan."""

    form = SubscriptionForm
    dollars_help = "In dollars; days and months are UTC."
    list_display = ["organization", "plan", "coloured_state", "reason", "external_id", "updated_at"]
    list_filter = ["state", "plan"]
    list_select_related = ["organization", "plan"]
    search_fields = ["organization__name", "external_id"]
    search_help_text = "Organization or Lago's external id"
    autocomplete_fields = ["organization", "plan"]
    readonly_fields = ["used_today", "used_this_month", "held_now", "elsewhere"]
    actions = ["suspend", "resume"]

    fieldsets = [
        (None, {"fields": ["organization", "plan", "state", "reason", "external_id"]}),
        ("Caps of the whole organization", {"fields": LIMITS, "description": "Empty: unlimited."}),
        (USE, {"fields": ["used_today", "used_this_month", "held_now", "elsewhere"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fieldsets(request, obj)
        return found if obj else [part for part in found if part[0] != USE]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *(["organization"] if obj else [])]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        rows: QuerySet[Subscription] = super().get_queryset(request)
        return rows.select_related("organization", "plan")

    @display(description="state", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, subscription: Subscription) -> str:
        return subscription.state

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row and its use, asked for once: a page reads each field several times."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            today, key = timezone.now().date(), row.organization_id
            row.today = usage_query.total(today, today, key)
            row.month = usage_query.total(today.replace(day=1), today, key)
            row.held = _held(key, today)
        return row

    @admin.display(description="today (UTC)")
    def used_today(self, subscription: Any) -> str:
        return _told(subscription.today)

    @admin.display(description="this month (UTC)")
    def used_this_month(self, subscription: Any) -> str:
        return _told(subscription.month)

    @admin.display(description="held by requests under way")
    def held_now(self, subscription: Any) -> str:
        tokens, cost = subscription.held
        return f"{tokens:,} tokens, {money.exact(cost)}"

    @admin.display(description="look at")
    def elsewhere(self, subscription: Subscription) -> str:
        key = subscription.organization_id
        pages = [
            (reverse("admin:accounts_organization_change", args=[key]), "the organization"),
            (reverse("billing_usage") + f"?organization={key}", "its usage"),
            (
                reverse("admin:billing_usagerecord_changelist") + f"?organization__id__exact={key}",
                "its requests",
            ),
        ]
        rows = [(url, links.LINK, text) for url, text in pages]
        return format_html_join(", ", '<a href="{}" class="{}">{}</a>', rows)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _forget_after(obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        _forget_after(obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        for row in queryset:
            _forget_after(row)
        super().delete_queryset(request, queryset)

    @admin.action(description="Suspend…", permissions=["change"])
    def suspend(self, request: HttpRequest, chosen: QuerySet[Subscription]) -> HttpResponse | None:
        rows = list(chosen[: AT_ONCE + 1])
        if len(rows) > AT_ONCE:
            self.message_user(request, f"Choose at most {AT_ONCE}.", messages.ERROR)
            return None
        form = Reason(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            done = [row for row in rows if _moved(request, row, State.SUSPENDED, reason)]
            self._say(request, len(done), "suspended", len(rows) - len(done))
            return None
        page = {
            **self.admin_site.each_context(request),
            "title": "Suspend organizations",
            "opts": self.opts,
            "rows": rows,
            "form": form,
        }
        return TemplateResponse(request, "admin/billing/subscription/suspend.html", page)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Subscription]) -> None:
        rows = list(chosen)
        done = [row for row in rows if _moved(request, row, State.ACTIVE, "")]
        self._say(request, len(done), "resumed", len(rows) - len(done))

    def _say(self, request: HttpRequest, done: int, what: str, left: int) -> None:
        if done:
            self.message_user(request, f"{done} {what}.", messages.SUCCESS)
        if left:
            text = f"{left} left alone: nothing to be {what} there."
            self.message_user(request, text, messages.WARNING)


def _moved(request: HttpRequest, row: Subscription, state: State, reason: str) -> bool:
    """Bring the subscription into another state. False: somebody else has done it."""
    with transaction.atomic():
        waiting = Subscription.objects.filter(pk=row.pk).exclude(state=state)
        if not waiting.update(state=state, reason=reason, updated_at=timezone.now()):
            return False
        action = SUSPENDED if state == State.SUSPENDED else RESUMED
        told = {"name": str(row), "reason": reason or row.reason}
        audit.record(action, trail.subject(row), actor(request), row.organization, told)
        _forget_after(row)
    return True


def _forget_after(row: Subscription) -> None:
    """This process sees the new terms at its next request; others within a few seconds."""
    transaction.on_commit(partial(terms.forget, row.organization_id))


def _held(organization_id: UUID, today: date) -> tuple[int, int]:
    """Tokens and nano-dollars. A request holds the same of the day and of the month."""
    held = Allowance.objects.filter(
        organization_id=organization_id,
        subject="organization",
        period__in=[f"{today:%Y-%m}", f"{today:%Y-%m-%d}"],
    ).aggregate(tokens=Max("tokens_held"), cost=Max("cost_held_nano"))
    return held["tokens"] or 0, held["cost"] or 0


def _told(used: usage_query.Line) -> str:
    return (
        f"{used.requests:,} requests, {used.limited_tokens:,} tokens (cache reads apart), "
        f"{money.exact(used.cost_nano)}"
    )
