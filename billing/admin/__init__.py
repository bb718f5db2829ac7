"""Billing's pages in the admin; importing them registers them."""

from billing.admin import (
    alarms,
    allowances,
    deliveries,
    ledger,
    outbox,
    plans,
    prices,
    subscriptions,
    workers,
)

__all__ = [
    "alarms",
    "allowances",
    "deliveries",
    "ledger",
    "outbox",
    "plans",
    "prices",
    "subscriptions",
    "workers",
]
