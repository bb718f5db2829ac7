"""How the pages write JSON, links and spans of time."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.links import LINK

SHOWN_CHARS = 32 * 1024  # of one JSON text: more is nothing that people read in a browser

COLOURS_OF_STATES = {
    "queued": "info",
    "approval": "warning",
    "leased": "info",
    "running": "primary",
    "orphaned": "warning",
    "succeeded": "success",
    "failed": "danger",
    "cancelled": "warning",
    "expired": "warning",
    "lost": "danger",
}


def link(page: str, pk: Any, text: str) -> SafeString:
    """A link to a row's page in the admin."""
    url = reverse(f"admin:mcp_{page}_change", args=[pk])
    return format_html('<a href="{}" class="{}">{}</a>', url, LINK, text)


def json_text(text: str | None) -> SafeString | str:
    """A stored JSON text, indented where it can be."""
    return _box(_indented(text)) if text else "-"


def json_value(value: Any) -> SafeString | str:
    """A stored JSON value, indented."""
    return _box(_dumped(value)) if value else "-"


def uuid_of(text: str) -> UUID | None:
    """The id that the text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def span(start: datetime | None, end: datetime | None) -> str:
    """The time between them."""
    if start is None or end is None:
        return "-"
    seconds = (end - start).total_seconds()
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:,.1f} s"


def _indented(text: str) -> str:
    if len(text) > SHOWN_CHARS:
        return text
    try:
        return _dumped(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _box(text: str) -> SafeString:
    more = len(text) - SHOWN_CHARS
    cut = f"{text[:SHOWN_CHARS]}\n… and {more:,} characters more" if more > 0 else text
    # Half a surrogate pair may stand in JSON, but not on a page.
    shown = cut.encode("utf-8", "backslashreplace").decode()
    return format_html('<pre class="mcp-json">{}</pre>', shown)
