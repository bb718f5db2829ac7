"""Lago brought in line with us: the metric, the plans, the customers and their subscriptions.

What Lago has beyond that, prices and charges of an operator's among it, is left as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings

from accounts.models import Organization
from billing import events, lago, terms
from billing.models import Plan, Subscription

CURRENCY = "USD"
METRIC_NAME = "AI usage in dollars"
AT_ONCE = 500  # organizations in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What was done, or could not be."""

    text: str
    is_change: bool = False
    is_failure: bool = False


def run(client: lago.Client, *, dry: bool) -> Iterator[Line]:
    """Do it, or with `dry` only say what would be done. Raises LagoError, UnbilledError."""
    setup = Setup(client, dry=dry)
    field, dollars = events.billed_by(settings.LAGO_EVENT_PROPERTIES)
    metric = yield from setup.metric(field)
    for plan in Plan.objects.order_by("code"):
        yield from setup.plan(plan, metric, format(dollars, "f"))
    organizations = Organization.objects.order_by("id").select_related("subscription__plan")
    for organization in organizations.iterator(chunk_size=AT_ONCE):
        try:
            yield from setup.organization(organization)
        except lago.LagoError as error:
            yield Line(text=f"{_told(organization)}: {error}", is_failure=True)


class Setup:
    """Looks what is there and changes what differs, so that a second run changes nothing."""

    def __init__(self, client: lago.Client, *, dry: bool) -> None:
        self._client = client
        self._dry = dry

    def metric(self, field: str) -> Any:
        """The one metric: Lago gives an event to the metric that has the event's code."""
        code = settings.LAGO_EVENT_CODE
        path, name = f"billable_metrics/{_quoted(code)}", "billable_metric"
        wanted = {"aggregation_type": "sum_agg", "field_name": field}
        found = self._client.find(path, name)
        if found is None:
            new = {"name": METRIC_NAME, "code": code, "recurring": False, **wanted}
            yield Line(text=f"metric {code}: created, the sum of {field}", is_change=True)
            return self._put("POST", "billable_metrics", name, new).get("lago_id", "")
        if any(found.get(key) != value for key, value in wanted.items()):
            yield Line(text=f"metric {code}: updated, the sum of {field}", is_change=True)
            self._put("PUT", path, name, wanted)
        else:
            yield Line(text=f"metric {code}: unchanged")
        return found["lago_id"]

    def plan(self, plan: Plan, metric: str, amount: str) -> Iterator[Line]:
        """A plan of ours, with the charge that makes the bill what our ledger says."""
        path = f"plans/{_quoted(plan.code)}"
        charge = {
            "billable_metric_id": metric,
            "charge_model": "standard",
            "properties": {"amount": amount},
        }
        found = self._client.find(path, "plan")
        if found is None:
            new = {
                "name": plan.name,
                "code": plan.code,
                "interval": "monthly",
                "amount_cents": 0,
                "amount_currency": CURRENCY,
                "pay_in_advance": False,
                "charges": [charge],
            }
            yield Line(text=f"plan {plan.code}: created", is_change=True)
            self._put("POST", "plans", "plan", new)
            return
        changed = []
        if found.get("name") != plan.name:
            changed.append("its name")
            self._put("PUT", path, "plan", {"name": plan.name})
        metrics = {c.get("billable_metric_code") for c in found.get("charges") or []}
        if settings.LAGO_EVENT_CODE not in metrics:
            changed.append("a charge for usage")
            self._put("POST", f"{path}/charges", "charge", charge)
        said = f"updated, {' and '.join(changed)}" if changed else "unchanged"
        yield Line(text=f"plan {plan.code}: {said}", is_change=bool(changed))

    def organization(self, organization: Organization) -> Iterator[Line]:
        """Its customer and its subscription."""
        yield self._customer(organization)
        own: Subscription | None = getattr(organization, "subscription", None)
        plan = own.plan if own else terms.plan_of(settings.DEFAULT_PLAN)
        told = _told(organization)
        if plan is None:
            yield Line(text=f"{told}: no subscription here, and no default plan")
            return
        if own and own.state == Subscription.State.SUSPENDED:
            yield Line(text=f"{told}: suspended, its subscription is left as it is")
            return
        note = "" if own else " (no subscription here: the default plan)"
        external_id = (own.external_id if own else None) or str(organization.id)
        found = self._client.find(f"subscriptions/{_quoted(external_id)}", "subscription")
        theirs = str(found.get("plan_code")) if found else ""
        # An alias is the same plan; and without a subscription here Lago's word is good enough.
        if found and (own is None or terms.plan_of(theirs) == plan):
            yield Line(text=f"{told}: subscription {external_id} to {theirs} unchanged{note}")
            return
        wanted = {
            "external_customer_id": str(organization.id),
            "plan_code": plan.code,
            "external_id": external_id,
            **({} if found else {"billing_time": "calendar"}),
        }
        self._put("POST", "subscriptions", "subscription", wanted)
        said = f"moved from {theirs} to {plan.code}" if found else f"to {plan.code} created"
        yield Line(text=f"{told}: subscription {external_id} {said}{note}", is_change=True)

    def _customer(self, organization: Organization) -> Line:
        external_id, told = str(organization.id), _told(organization)
        found = self._client.find(f"customers/{external_id}", "customer")
        if found and found.get("name") == organization.name:
            return Line(text=f"{told}: customer unchanged")
        wanted = {"external_id": external_id, "name": organization.name}
        if found is None:
            wanted["currency"] = CURRENCY
        self._put("POST", "customers", "customer", wanted)  # creates or updates
        said = "updated" if found else "created"
        return Line(text=f"{told}: customer {said}", is_change=True)

    def _put(self, method: str, path: str, name: str, value: lago.Json) -> lago.Json:
        return {} if self._dry else self._client.put(method, path, name, value)


def _told(organization: Organization) -> str:
    plain = "".join(c if c.isprintable() else " " for c in organization.name)
    return f"{plain} ({organization.id})"


def _quoted(code: str) -> str:
    return quote(code, safe="")
