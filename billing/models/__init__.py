"""The tables of billing: plans, allowances, prices, the ledger, its sums, and what goes to Lago."""

from billing.models.alarms import Alarm
from billing.models.ledger import UsageRecord
from billing.models.outbox import OutboxEvent, WebhookDelivery
from billing.models.plans import Allowance, Plan, PlanAlias, Subscription
from billing.models.prices import Price
from billing.models.rollups import UsageRollup, UsageSession
from billing.models.workers import Worker

__all__ = [
    "Alarm",
    "Allowance",
    "OutboxEvent",
    "Plan",
    "PlanAlias",
    "Price",
    "Subscription",
    "UsageRecord",
    "UsageRollup",
    "UsageSession",
    "WebhookDelivery",
    "Worker",
]
