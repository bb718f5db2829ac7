"""What of the limits is used and held just now, to read."""

from contextlib import suppress
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator

from accounts.trailed import ReadOnlyAdmin
from billing import money
from billing.admin.fields import DollarsAdmin, dollars
from billing.models import Allowance


@admin.register(Allowance)
class AllowanceAdmin(DollarsAdmin, ReadOnlyAdmin):
    """One row for each subject and each day or month."""

    list_display = [
        "period",
        "organization",
        "subject",
        "requests",
        "tokens",
        "tokens_held",
        dollars("cost_nano", write=money.short),
        dollars("cost_held_nano", "cost held", write=money.short),
    ]
    list_select_related = ["organization"]
    search_fields = ["id"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "A day or month, a subject such as user:12, an organization's id; in full"
    ordering = ["-period", "id"]
    paginator = InfinitePaginator  # a row for each user and day is too much to count for a page
    fieldsets = [
        ("Whose and when", {"fields": ["organization", "subject", "period"]}),
        ("Used", {"fields": ["requests", "tokens", "cost_nano"]}),
        ("Held by requests under way", {"fields": ["tokens_held", "cost_held_nano"]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Allowance], search_term: str
    ) -> tuple[QuerySet[Allowance], bool]:
        """Exact matches only."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(pk=term) | Q(period=term) | Q(subject=term)
        with suppress(ValueError):
            wanted |= Q(organization_id=UUID(term))
        return queryset.filter(wanted), False
