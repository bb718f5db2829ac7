"""What the frame around the portal's pages shows, and how the pages write numbers and times."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing import money
from billing.usage import Amounts
from mcp import visible
from opscenter.portal import words
from opscenter.portal.visitors import Visitor, visitor_of

register = template.Library()

register.filter("inert", visible.in_one_line)
register.filter("dollars", money.short)
register.filter("scope", words.scope)


# Title, the name of its address, and its icon. A page belongs to the one whose name begins its own.
PAGES = [
    ("Home", "portal-home", "home"),
    ("Keys", "portal-keys", "key"),
    ("Connect Claude Code", "portal-claude", "terminal"),
    ("Connect a machine", "portal-machine", "machine"),
    ("Usage", "portal-usage", "chart"),
    ("Plan & limits", "portal-limits", "gauge"),
    ("Approvals", "mcp-inbox", "check"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A line of the navigation."""

    title: str
    url: str
    icon: str
    is_current: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a page."""

    visitor: Visitor | None
    links: list[Link]
    current: str  # where the chooser leads back to


@register.simple_tag(takes_context=True)
def frame(context: dict[str, Any]) -> Frame:
    """The frame around the page of this request."""
    request: HttpRequest = context["request"]
    match = request.resolver_match
    name = (match.url_name if match else None) or ""
    links = [
        Link(title=title, url=reverse(of), icon=icon, is_current=name.startswith(of))
        for title, of, icon in PAGES
    ]
    if getattr(request.user, "is_staff", False):
        links.append(Link(title="Admin", url=reverse("admin:index"), icon="admin"))
    current = next((link.url for link in links if link.is_current), links[0].url)
    return Frame(visitor=visitor_of(request), links=links, current=current)


@register.filter
def count(number: int) -> str:
    """A number as people read it."""
    return f"{number:,}"


@register.filter
def ago(at: datetime | None) -> str:
    """How long ago that was."""
    return words.ago(timezone.now() - at) if at else "never"


@register.filter
def until(at: datetime) -> str:
    """How long until then."""
    return words.span(max(at - timezone.now(), timedelta()))


@register.filter
def writes(amounts: Amounts) -> int:
    """What was written to caches, for five minutes and for an hour."""
    return amounts["cache_write_5m_tokens"] + amounts["cache_write_1h_tokens"]


@register.filter
def time_of(at: datetime, unit: str) -> str:
    """An hour or a day, in UTC."""
    return f"{at.astimezone(UTC):{'%d %b, %H:%M' if unit == 'hour' else '%d %b %Y'}}"
