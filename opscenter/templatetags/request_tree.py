"""The request that a row of the ledger belongs to, on the row's page."""

from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone

from billing import money
from billing.models import UsageRecord
from opscenter import request_rows, request_tree, request_words
from opscenter.request_tree import Step, Tree
from opscenter.timeline import Bar

register = template.Library()

register.filter("tone", request_words.tone)
register.filter("state", request_words.state)
register.filter("duration", request_words.duration)
register.filter("moment", request_words.moment)
register.filter("tokens", request_words.tokens)
register.filter("why", request_words.why)
register.filter("course", request_words.course)
register.filter("times", request_words.times)
register.filter("way", request_words.way)
register.filter("lasted", request_words.lasted)
register.filter("dollars", money.short)
register.filter("exact_dollars", money.exact)


@register.filter
def count(number: int) -> str:
    """A number as people read it."""
    return f"{number:,}"


@register.filter
def percent(share: float) -> str:
    """As a sheet of style takes it."""
    return f"{share:.3f}%"


@register.filter
def place(bar: Bar) -> str:
    """Where a bar lies, as properties of its style."""
    return (
        f"--at: {percent(bar.left)}; --wide: {percent(bar.width)}; --waits: {percent(bar.waiting)}"
    )


@register.filter
def lines(tree: Tree) -> str:
    """How far apart the lines of the timeline are, as a property of its style."""
    apart = tree.ticks[1].left if len(tree.ticks) > 1 else 100
    return f"--apart: {percent(apart)}"


@register.filter
def gone(step: Step) -> str:
    """What is said where a step has called tools and there is no row of a call."""
    return request_words.gone(step, settings.MCP_KEEP_DAYS)


@register.inclusion_tag("admin/billing/usagerecord/tree.html", takes_context=True)
def request_as_tree(context: dict[str, Any], row: UsageRecord) -> dict[str, Any]:
    """The tree of a row's request, as far as whoever looks may see it."""
    user = context["request"].user
    sees_calls = user.has_perm("mcp.view_toolcall") or user.has_perm("mcp.change_toolcall")
    found = request_rows.found(row, sees_calls=sees_calls)
    now = timezone.now()
    return {"tree": request_tree.grown(found, now) if found else None, "row": row, "now": now}
