"""What the stand-in for Lago remembers, in the forms of Lago's contract."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Store:
    """Events in the order of their arrival, and the rest by its code or external id."""

    keeps: str = "postgres"  # or clickhouse: what it does with an event that comes again
    events: list[Json] = field(default_factory=list)
    customers: dict[str, Json] = field(default_factory=dict)
    metrics: dict[str, Json] = field(default_factory=dict)
    plans: dict[str, Json] = field(default_factory=dict)
    subscriptions: dict[str, Json] = field(default_factory=dict)
    by_id: dict[tuple[str, str], int] = field(default_factory=dict)  # to its place in `events`

    def faults_of(self, events: Iterable[Json], refused: dict[str, Any]) -> Json:
        """By index, why events are not taken."""
        found: Json = {}
        for index, event in enumerate(events):
            name = (event["external_subscription_id"], event["transaction_id"])
            if event["transaction_id"] in refused:
                found[str(index)] = refused[event["transaction_id"]]
            elif self.keeps == "postgres" and name in self.by_id:
                found[str(index)] = {"transaction_id": ["value_already_exist"]}
        return found

    def add(self, event: Json) -> Json:
        """Keep an event; in the manner of ClickHouse the same one overwrites itself."""
        name = (event["external_subscription_id"], event["transaction_id"])
        stored = {
            "lago_id": new_id(),
            "transaction_id": event["transaction_id"],
            "lago_customer_id": None,
            "code": event["code"],
            "timestamp": _iso(Decimal(str(event["timestamp"]))),
            "properties": event.get("properties", {}),
            "lago_subscription_id": None,
            "external_subscription_id": event["external_subscription_id"],
            "created_at": NOW,
        }
        place = self.by_id.get(name)
        if place is not None and self.events[place]["timestamp"] == stored["timestamp"]:
            self.events[place] = stored
        else:
            self.by_id[name] = len(self.events)
            self.events.append(stored)
        return stored

    def page(self, query: dict[str, str]) -> Json:
        """A page of events, the newest first."""
        found = [event for event in reversed(self.events) if _wanted(event, query)]
        number, size = int(query.get("page", 1)), min(int(query.get("per_page", 20)), 100)
        pages = -(-len(found) // size)
        return {
            "events": found[(number - 1) * size : number * size],
            "meta": {
                "current_page": number,
                "next_page": number + 1 if number < pages else None,
                "prev_page": number - 1 if number > 1 else None,
                "total_pages": pages,
                "total_count": len(found),
            },
        }

    def put_customer(self, given: Json) -> Json:
        stored = self.customers.setdefault(
            given["external_id"],
            {
                "lago_id": new_id(),
                "sequential_id": len(self.customers) + 1,
                "slug": f"LAG-{len(self.customers) + 1:03d}",
                "applicable_timezone": "UTC",
                "created_at": NOW,
            },
        )
        stored.update(given)
        return stored

    def put_metric(self, code: str, given: Json) -> Json:
        stored = self.metrics.setdefault(
            code, {"lago_id": new_id(), "recurring": False, "created_at": NOW}
        )
        stored.update(given)
        return stored

    def put_plan(self, code: str, given: Json) -> Json:
        stored = self.plans.setdefault(code, {"lago_id": new_id(), "created_at": NOW})
        charges = [self.charge(charge) for charge in given.pop("charges", [])]
        stored.update(given)
        stored.setdefault("charges", []).extend(charges)
        return stored

    def charge(self, given: Json) -> Json:
        metric = next(
            m for m in self.metrics.values() if m["lago_id"] == given["billable_metric_id"]
        )
        return {
            "lago_id": new_id(),
            "lago_billable_metric_id": metric["lago_id"],
            "billable_metric_code": metric["code"],
            "created_at": NOW,
            "charge_model": given["charge_model"],
            "pay_in_advance": False,
            "invoiceable": True,
            "regroup_paid_fees": None,
            "prorated": False,
            "min_amount_cents": 0,
            "properties": given.get("properties", {}),
            "filters": [],
        }

    def put_subscription(self, given: Json) -> Json:
        customer = self.customers[given["external_customer_id"]]
        stored = self.subscriptions.setdefault(given["external_id"], _subscription(customer))
        stored.update(given)
        return stored

    def usage(self, customer: str, subscription: str) -> Json:
        """The usage of the month under way."""
        plan = self.plans[self.subscriptions[subscription]["plan_code"]]
        first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(seconds=1)
        charges = [self._charged(charge, subscription, first) for charge in plan["charges"]]
        cents = sum(charge["amount_cents"] for charge in charges)
        return {
            "from_datetime": first.isoformat(),
            "to_datetime": last.isoformat(),
            "issuing_date": last.date().isoformat(),
            "currency": "USD",
            "amount_cents": cents,
            "taxes_amount_cents": 0,
            "total_amount_cents": cents,
            "charges_usage": charges,
        }

    def _charged(self, charge: Json, subscription: str, first: datetime) -> Json:
        metric = self.metrics[charge["billable_metric_code"]]
        events = [
            event
            for event in self.events
            if event["external_subscription_id"] == subscription
            and event["code"] == metric["code"]
            and datetime.fromisoformat(event["timestamp"]) >= first
        ]
        name = metric["field_name"]
        units = sum((Decimal(str(e["properties"].get(name, 0))) for e in events), Decimal(0))
        return {
            "units": format(units, "f"),
            "total_aggregated_units": format(units, "f"),
            "events_count": len(events),
            "amount_cents": int(units * Decimal(charge["properties"]["amount"]) * 100),
            "amount_currency": "USD",
            "charge": {"lago_id": charge["lago_id"], "charge_model": "standard"},
            "billable_metric": {
                name: metric[name] for name in ("lago_id", "name", "code", "aggregation_type")
            },
        }


def _subscription(customer: Json) -> Json:
    nothing = dict.fromkeys(
        (
            "name",
            "canceled_at",
            "ending_at",
            "terminated_at",
            "previous_plan_code",
            "next_plan_code",
            "downgrade_plan_date",
            "trial_ended_at",
            "current_billing_period_started_at",
            "current_billing_period_ending_at",
        )
    )
    return {
        **nothing,
        "lago_id": new_id(),
        "lago_customer_id": customer["lago_id"],
        "billing_time": "calendar",
        "status": "active",
        "created_at": NOW,
        "started_at": NOW,
        "subscription_at": NOW,
        "on_termination_credit_note": "skip",
        "on_termination_invoice": "generate",
    }


def _wanted(event: Json, query: dict[str, str]) -> bool:
    names = ("external_subscription_id", "code")
    if any(name in query and event[name] != query[name] for name in names):
        return False
    at = datetime.fromisoformat(event["timestamp"])
    since, until = query.get("timestamp_from"), query.get("timestamp_to")
    return (not since or at >= datetime.fromisoformat(since)) and (
        not until or at <= datetime.fromisoformat(until)
    )


def _iso(seconds: Decimal) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(seconds * 1000))
    return at.isoformat(timespec="milliseconds")
