"""How pages point at requests, and how people spell one."""

from collections.abc import Iterable
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html, format_html_join

LINK = "text-primary-600 dark:text-primary-500"


def request_id(text: str) -> UUID | None:
    """The row that a request id means; None where the text is none."""
    try:
        return UUID(text.strip().removeprefix("req_"))
    except ValueError:
        return None


def to_record(record_id: UUID | None) -> str:
    """A link to a row of the ledger."""
    if record_id is None:
        return "-"
    page = reverse("admin:billing_usagerecord_change", args=[record_id])
    return format_html('<a href="{}" class="{}">req_{}</a>', page, LINK, record_id.hex)


def to_records(record_ids: Iterable[UUID]) -> str:
    """Links to several, one a line."""
    links = [(to_record(record_id),) for record_id in record_ids]
    return format_html_join("", "<div>{}</div>", links) or "-"
