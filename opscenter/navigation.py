"""The admin's sidebar: what people look for, in groups, as far as they may see it."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from billing.models import Alarm

USAGE = "billing.usagerollup"  # whoever may see the sums may see the page of usage
ALARMS = "billing.alarm"
SPECIAL = {"Usage": "billing_usage", "Live": "live"}  # pages of our own, at no model's address

# Title, icon, and the model that gives the page and the permission.
GROUPS: dict[str, list[tuple[str, str, str]]] = {
    "Billing": [
        ("Usage", "bar_chart", USAGE),
        ("Ledger", "receipt_long", "billing.usagerecord"),
        ("Plans", "sell", "billing.plan"),
        ("Subscriptions", "card_membership", "billing.subscription"),
        ("Prices", "payments", "billing.price"),
        ("Allowances", "hourglass", "billing.allowance"),
        ("Outbox", "outbox", "billing.outboxevent"),
        ("Webhooks", "webhook", "billing.webhookdelivery"),
        ("Alarms", "notifications", ALARMS),
    ],
    "Gateway": [
        ("Upstreams", "dns", "proxy.upstream"),
        ("Routes", "alt_route", "proxy.route"),
        ("Agents", "smart_toy", "proxy.agent"),
        ("Crews", "groups", "proxy.crew"),
        ("Own credentials", "lock", "proxy.owncredential"),
        ("Workers", "memory", "billing.worker"),
    ],
    "Machines": [
        ("Live", "sensors", "mcp.toolcall"),
        ("Connectors", "computer", "mcp.connector"),
        ("MCP servers", "construction", "mcp.mcpserver"),
        ("Tool calls", "terminal", "mcp.toolcall"),
        ("Tool policies", "policy", "mcp.organizationpolicy"),
        ("Approvals", "how_to_reg", "mcp.approval"),
        ("Audited calls", "fact_check", "mcp.auditedcall"),
    ],
    "People": [
        ("Organizations", "apartment", "accounts.organization"),
        ("API keys", "key", "accounts.apikey"),
        ("Users", "person", "auth.user"),
        ("Groups", "group", "auth.group"),
        ("Identities", "fingerprint", "accounts.identity"),
        ("Audit trail", "history", "accounts.auditentry"),
    ],
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups with at least one page for whoever asks."""
    groups = []
    for title, pages in GROUPS.items():
        items = [_item(*page) for page in pages if _may_see(request, page[2])]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def _may_see(request: HttpRequest, model: str) -> bool:
    app, name = model.split(".")
    user = request.user
    return user.has_perm(f"{app}.view_{name}") or user.has_perm(f"{app}.change_{name}")


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    page = f"admin:{model.replace('.', '_')}_changelist"
    item = {"title": title, "icon": icon, "link": reverse(SPECIAL.get(title, page))}
    # A table of a few rows: this is one cheap query on every page.
    if model == ALARMS and (count := Alarm.objects.count()):
        item["badge"] = str(count)
    return item
