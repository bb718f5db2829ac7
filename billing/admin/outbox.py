"""What is still to be told to Lago, and another try for what it refused."""

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from accounts import audit
from accounts.trailed import ReadOnlyAdmin, actor
from billing.admin import links
from billing.models import OutboxEvent

RETRIED = "outbox.retried"
NAMED_AT_MOST = 20  # requests in one line of the trail
State = OutboxEvent.State
STATE_COLOURS = {State.PENDING: "info", State.PARKED: "danger"}


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """Events that Lago has not acknowledged."""

    list_display = [
        "queued_at",
        "coloured_state",
        "why",
        "attempts",
        "organization",
        "request_id",
        "leased_until",
    ]
    list_display_links = ["queued_at"]
    list_filter = ["state", "queued_at"]
    search_fields = ["record__id__exact"]
    search_help_text = "A request id, in full"
    ordering = ["-queued_at", "-record_id"]
    paginator = InfinitePaginator  # with Lago away for a day there are too many to count for a page
    fields = [
        "request_id",
        "organization",
        "state",
        "reason",
        "attempts",
        "queued_at",
        "leased_until",
    ]
    actions = ["retry"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxEvent]:
        # Not joined: for a few events SQLite reads the whole ledger.
        return super().get_queryset(request).prefetch_related("record__organization")  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        """One request's event."""
        term = search_term.strip()
        if not term:
            return queryset, False
        record_id = links.request_id(term)
        return (queryset.filter(pk=record_id) if record_id else queryset.none()), False

    @display(description="state", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def coloured_state(self, event: OutboxEvent) -> str:
        return event.state

    @admin.display(description="reason")
    def why(self, event: OutboxEvent) -> str:
        """Wide enough to be read in a column; a sentence of Lago's may be long."""
        style, text = "min-width: 16rem; overflow-wrap: anywhere", event.reason
        return format_html('<div style="{}">{}</div>', style, Truncator(text).chars(200) or "-")

    @admin.display(description="request")
    def request_id(self, event: OutboxEvent) -> str:
        return links.to_record(event.record_id)

    @admin.display(description="organization")
    def organization(self, event: OutboxEvent) -> str:
        return str(event.record.organization)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """A retry changes events, although nobody edits one."""
        return request.user.has_perm("billing.change_outboxevent")

    @admin.action(description="Retry", permissions=["retry"])
    def retry(self, request: HttpRequest, chosen: QuerySet[OutboxEvent]) -> None:
        with transaction.atomic():
            parked = chosen.filter(state=State.PARKED)
            first = list(parked.order_by("pk").values_list("pk", flat=True)[:NAMED_AT_MOST])
            sent = parked.update(state=State.PENDING, leased_until=None, attempts=0, reason="")
            if sent:
                named = [f"req_{one.hex}" for one in first]
                told = {"count": sent, "requests": named}
                audit.record(RETRIED, "outbox", actor(request), None, told)
        text = f"{sent} will be sent again." if sent else "None of them is parked."
        self.message_user(request, text, messages.SUCCESS if sent else messages.WARNING)
