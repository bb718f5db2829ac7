"""The ledger in the admin: to read, never to change."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from accounts.trailed import ReadOnlyAdmin
from billing import money
from billing.admin import links
from billing.admin.fields import dollars
from billing.admin.ledger_list import GONE, AgentFilter, PartFilter, RequestList, UpstreamFilter
from billing.models import UsageRecord

LINKED_AT_MOST = 50  # corrections of one request

State = UsageRecord.State
STATE_COLOURS = {
    State.ADMITTED: "info",
    State.COMPLETED: "success",
    State.FAILED: "danger",
    State.INTERRUPTED: "warning",
    State.CORRECTION: "primary",
}

FIELDSETS: list[tuple[str, dict[str, Any]]] = [
    (
        "Request",
        {
            "fields": [
                ("id", "state", "status"),
                ("stop_reason", "error_type"),
                ("flags", "streamed"),
            ]
        },
    ),
    ("Who", {"fields": [("organization", "person", "api_key_id"), ("session_id", "tag_names")]}),
    (
        "What",
        {
            "fields": [
                ("requested_model", "target_model", "served_model"),
                ("upstream", "route", "moved_from"),
                ("attempts", "own_credential", "agent"),
                ("agent_id", "parent_agent_id"),
                ("message_id", "upstream_request_id"),
                ("request_bytes", "answer_bytes"),
                ("client_headers",),
            ]
        },
    ),
    (
        "Tokens",
        {
            "fields": [
                ("input_tokens", "output_tokens", "estimated"),
                ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
                ("server_tool_uses", "tool_calls"),
            ]
        },
    ),
    (
        "Money",
        {"fields": [("cost", "price_version", "unpriced"), ("metered", "held", "held_tokens")]},
    ),
    (
        "Times",
        {
            "fields": [
                ("admitted_at", "closed_at"),
                ("first_byte_ms", "longest_silence_ms", "duration_ms"),
            ]
        },
    ),
    ("Belongs to", {"fields": ["step_of", "correction_of", "corrections_of_it"]}),
    ("As the upstream reported it", {"classes": ["collapse"], "fields": ["usage"]}),
]


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    """Requests and corrections, the newest first."""

    list_display = [
        "admitted_at",
        "organization",
        "username",
        "requested_model",
        "agent",
        "part_of",
        "coloured_state",
        "marks",
        dollars("cost_nano", "cost", write=money.short),
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "upstream",
        "status",
        "duration_ms",
    ]
    list_filter = [
        "state",
        PartFilter,
        UpstreamFilter,
        AgentFilter,
        "unpriced",
        "estimated",
        ("flags", admin.EmptyFieldListFilter),
        "streamed",
        "admitted_at",
    ]
    search_fields = ["id"]  # asks for the search box; `get_search_results` does the search
    search_help_text = "A request id, a session id or a model name, in full"
    ordering = ["-admitted_at"]
    list_per_page = 25
    # A ledger of millions is never counted to show a page.
    paginator = InfinitePaginator
    compressed_fields = False  # labels above their fields: several stand in a row
    fieldsets = FIELDSETS

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord], search_term: str
    ) -> tuple[QuerySet[UsageRecord], bool]:
        """Exact matches only: a ledger of millions is not searched through."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(session_id=term) | Q(requested_model=term)
        if record_id := links.request_id(term):  # a session's id may look like a request's
            wanted |= Q(id=record_id)
        return queryset.filter(wanted), False

    @display(description="state", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, row: UsageRecord) -> str:
        return row.state

    @admin.display(description="marks")
    def marks(self, row: UsageRecord) -> str:
        """All that makes a row worth a second look."""
        found = [
            row.flags,
            "unpriced" if row.unpriced else "",
            "estimated" if row.estimated else "",
        ]
        return ", ".join(filter(None, found)) or "-"

    @admin.display(description="user")
    def username(self, row: Any) -> str:
        return str(row.username)

    @admin.display(description="whole")
    def part_of(self, row: Any) -> str:
        """The request that a step is of; of a request with further steps, what all come to."""
        if row.parent_id is not None:
            page = reverse("admin:billing_usagerecord_change", args=[row.parent_id])
            return format_html('<a href="{}" class="{}">a step</a>', page, links.LINK)
        if not row.further_steps:
            return "-"
        cost = money.short(row.cost_nano + row.further_nano)
        return f"{row.further_steps + 1} steps, {cost}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RequestList

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageRecord]:
        rows: QuerySet[UsageRecord] = super().get_queryset(request)
        return rows.select_related("organization")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row and what stands beside it, asked for once: a page reads each field many times."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.user_there = User.objects.filter(pk=row.user_id).first()
            row.corrections_there = _first(UsageRecord.objects.filter(corrects_id=row.pk))
        return row

    @admin.display(description="user")
    def person(self, row: Any) -> str:
        return f"{row.user_there.username if row.user_there else GONE} ({row.user_id})"

    @admin.display(description="headers")
    def client_headers(self, row: UsageRecord) -> str:
        kept = row.kept_headers if isinstance(row.kept_headers, dict) else {}
        return format_html_join("", "<div>{}: {}</div>", sorted(kept.items())) or "-"

    @admin.display(description="tags")
    def tag_names(self, row: UsageRecord) -> str:
        tags = row.tags if isinstance(row.tags, list) else []
        return ", ".join(map(str, tags)) or "-"

    @admin.display(description="cost")
    def cost(self, row: UsageRecord) -> str:
        return money.exact(row.cost_nano)

    @admin.display(description="held")
    def held(self, row: UsageRecord) -> str:
        return money.exact(row.held_cost_nano)

    @admin.display(description="price")
    def price_version(self, row: UsageRecord) -> str:
        price_id: int | None = row.price_id
        if price_id is None:
            return "-"
        page = reverse("admin:billing_price_change", args=[price_id])
        return format_html('<a href="{}" class="{}">version {}</a>', page, links.LINK, price_id)

    @admin.display(description="a step of")
    def step_of(self, row: UsageRecord) -> str:
        return links.to_record(row.parent_id)

    @admin.display(description="corrects")
    def correction_of(self, row: UsageRecord) -> str:
        return links.to_record(row.corrects_id)

    @admin.display(description="its corrections")
    def corrections_of_it(self, row: Any) -> str:
        return links.to_records(row.corrections_there)


def _first(rows: QuerySet[UsageRecord]) -> list[UUID]:
    return list(rows.order_by("pk").values_list("pk", flat=True)[:LINKED_AT_MOST])
