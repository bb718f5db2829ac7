"""Plans: their limits, their other names, and how many organizations are on each."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.sane import SaneInline
from accounts.trailed import TrailedAdmin
from billing.admin.fields import DollarsAdmin, dollars
from billing.models import Plan, PlanAlias, Subscription
from billing.plans import normalized

NAMED_AT_MOST = 10  # organizations in one sentence
UNLIMITED = "unlimited"
LIMITS = [
    ("requests_per_minute", "requests_per_day", "tokens_per_day"),
    ("cost_per_day_nano", "cost_per_month_nano"),
]


class Aliases(SaneInline):
    """The other codes of a plan."""

    model = PlanAlias
    extra = 0


def limit(name: str, description: str) -> Any:
    """A column for a limit that may not be there."""

    @admin.display(description=description, ordering=name)
    def column(row: Any) -> str:
        found = getattr(row, name)
        return UNLIMITED if found is None else f"{found:,}"

    return column


@admin.register(Plan)
class PlanAdmin(DollarsAdmin, TrailedAdmin):
    """Tiers. What changes here holds within settings.MEMORY_TTL_S on every worker."""

    dollars_help = "In dollars; days and months are UTC."
    list_display = [
        "name",
        "code",
        limit("requests_per_minute", "requests/min"),
        limit("requests_per_day", "requests/day"),
        limit("tokens_per_day", "tokens/day"),
        dollars("cost_per_day_nano", "$/day", none=UNLIMITED),
        dollars("cost_per_month_nano", "$/month", none=UNLIMITED),
        "may_overdraw",
        "organizations",
    ]
    search_fields = ["code", "name", "aliases__code"]
    search_help_text = "Code, name or alias"
    inlines = [Aliases]
    actions = ["delete_selected"]
    fieldsets = [
        (None, {"fields": ["code", "name"]}),
        (
            "Limits of each user and each service key",
            {"fields": [*LIMITS, "overdraft"], "description": "Empty: unlimited."},
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(organizations_on_it=Count("subscriptions"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Lago and the settings call a plan by its code, so that stays; aliases are for more."""
        return [*super().get_readonly_fields(request, obj), *(["code"] if obj else [])]

    @admin.display(description="overdraft", ordering="overdraft")
    def may_overdraw(self, plan: Plan) -> str:
        return "allowed" if plan.overdraft else "no"  # a red cross would look like a fault

    @admin.display(description="organizations", ordering="organizations_on_it")
    def organizations(self, plan: Any) -> int:
        return int(plan.organizations_on_it)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        plan = self.get_object(request, object_id)
        if plan is not None and self.has_delete_permission(request, plan):
            refusals = why_kept([plan])
            if refusals:
                messages.error(request, refusals[0])
                page = reverse("admin:billing_plan_change", args=[plan.pk])
                return HttpResponseRedirect(page)
        answer: HttpResponse = super().delete_view(request, object_id, extra_context)
        return answer

    @admin.action(description="Delete selected plans", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, chosen: QuerySet[Plan]) -> HttpResponse | None:
        """All of them or none: what is in use is named, and nothing happens."""
        refusals = why_kept(list(chosen))
        for text in refusals:
            messages.error(request, text)
        return None if refusals else delete_selected(self, request, chosen)


def why_kept(plans: list[Plan]) -> list[str]:
    """A sentence for each of the plans that is in use."""
    found: list[str] = []
    for plan in plans:
        if normalized(plan.code) == normalized(settings.DEFAULT_PLAN):
            found.append(
                f"The plan {plan} cannot be deleted: OPSCENTER_DEFAULT_PLAN names it for "
                "organizations without a subscription."
            )
            continue
        on_it = Subscription.objects.filter(plan=plan)
        names = list(on_it.values_list("organization__name", flat=True)[:NAMED_AT_MOST])
        if names:
            more = on_it.count() - len(names)
            who = ", ".join(names) + (f" and {more} more" if more else "")
            found.append(
                f"The plan {plan} cannot be deleted: {who} "
                f"{'is' if len(names) == 1 else 'are'} on it. Move them to another plan first."
            )
    return found
