"""What Lago tells us changes plans, suspends and resumes. Each delivery counts once."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import AuditEntry, Organization
from billing import alarms, terms
from billing.lago_values import Json, as_moment, as_object, as_text, as_uuid, synced_at
from billing.models import Plan, Subscription, WebhookDelivery

log = logging.getLogger(__name__)

ACTOR = "lago"
ENDED = "The subscription has ended."
USED_UP = "The prepaid balance is used up."
# The audit lines that say how far Lago's word has got.
SUBSCRIPTION, WALLET = "lago.subscription", "lago.wallet"

State = Subscription.State


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a webhook says of one organization."""

    kind: str  # SUBSCRIPTION or WALLET
    what: str  # started, ended, depleted, filled
    lago_id: str
    at: datetime | None  # when it happened, by Lago's clock
    external_id: str = ""
    customer: str = ""
    plan_code: str = ""

    @property
    def ends(self) -> bool:
        """Whether it takes something away."""
        return self.what in {"ended", "depleted"}


def take(unique_key: str, payload: Json) -> str:
    """Apply a verified webhook once; what it changed, in words."""
    webhook_type = as_text(payload.get("webhook_type"))[:100]
    try:
        with transaction.atomic():
            delivery = WebhookDelivery.objects.create(
                unique_key=unique_key, webhook_type=webhook_type, outcome=""
            )
            delivery.outcome = _apply(webhook_type, payload)[:300]
            delivery.save(update_fields=["outcome"])
    except IntegrityError:
        if WebhookDelivery.objects.filter(unique_key=unique_key).exists():
            return "taken before"
        raise
    return delivery.outcome


def _apply(webhook_type: str, payload: Json) -> str:
    read = READERS.get(webhook_type)
    told = read(payload) if read else None
    if told is None:
        return "nothing to do"
    organization = _organization(told)
    if organization is None:
        return "no such organization here"
    last = _last(organization, told.kind)
    if last is not None and _is_old(told, last):
        return "older than what is known"
    subscription = Subscription.objects.filter(organization=organization).first()
    if told.what == "ended" and not _is_the_one(told, organization, subscription):
        return "another subscription than the one that counts"
    outcome = EFFECTS[told.what](organization, subscription, told)
    _record(organization, told, outcome)
    transaction.on_commit(lambda: terms.forget(organization.id))
    return outcome


# What the webhooks say.


def _subscription(payload: Json, what: str) -> Told | None:
    found = as_object(payload.get("subscription"))
    status = str(found.get("status", ""))
    if status in {"pending", "incomplete"}:
        return None  # it has not begun
    if status in {"terminated", "canceled"}:
        what = "ended"
    names = ("created_at", "started_at", "terminated_at", "canceled_at")
    return Told(
        kind=SUBSCRIPTION,
        what=what,
        lago_id=as_text(found.get("lago_id")),
        at=max(filter(None, (as_moment(found.get(name)) for name in names)), default=None),
        external_id=as_text(found.get("external_id")),
        customer=as_text(found.get("external_customer_id"))
        or as_text(as_object(found.get("customer")).get("external_id")),
        plan_code=as_text(found.get("plan_code")),
    )


def _wallet(found: Json, what: str, at: datetime | None) -> Told:
    return Told(
        kind=WALLET,
        what=what,
        lago_id=as_text(found.get("lago_id")),
        at=at,
        customer=as_text(found.get("external_customer_id")),
    )


def _depleted(payload: Json) -> Told:
    found = as_object(payload.get("wallet"))
    return _wallet(found, "depleted", synced_at(found))


def _wallet_updated(payload: Json) -> Told | None:
    found = as_object(payload.get("wallet"))
    cents = found.get("ongoing_balance_cents", found.get("balance_cents"))
    is_filled = isinstance(cents, int) and not isinstance(cents, bool) and cents > 0
    return _wallet(found, "filled", synced_at(found)) if is_filled else None


def _transaction(payload: Json) -> Told | None:
    found = as_object(payload.get("wallet_transaction"))
    is_in = found.get("status") == "settled" and found.get("transaction_type") == "inbound"
    if not is_in:
        return None
    return _wallet(as_object(found.get("wallet")), "filled", as_moment(found.get("settled_at")))


READERS: Mapping[str, Callable[[Json], Told | None]] = {
    "subscription.started": lambda payload: _subscription(payload, "started"),
    "subscription.updated": lambda payload: _subscription(payload, "started"),
    "subscription.terminated": lambda payload: _subscription(payload, "ended"),
    "subscription.canceled": lambda payload: _subscription(payload, "ended"),
    "wallet.depleted_ongoing_balance": _depleted,
    "wallet.updated": _wallet_updated,
    "wallet_transaction.created": _transaction,
    "wallet_transaction.updated": _transaction,
}


# What they change.


def _started(organization: Organization, own: Subscription | None, told: Told) -> str:
    plan = terms.plan_of(told.plan_code) if told.plan_code else None
    if plan is None:
        detail = f"Lago put {organization.id} on {told.plan_code!r}; its plan stays as it is."
        alarms.sound(alarms.Code.UNKNOWN_PLAN, told.plan_code or "(none)", detail)
        return f"unknown plan {told.plan_code}"
    row = own or Subscription(organization=organization)
    row.plan = plan
    row.external_id = None if _is_own(told, organization) else told.external_id or None
    # Only what an end of the subscription took is given back: not what an operator or a wallet did.
    if row.reason == ENDED:
        row.state, row.reason = State.ACTIVE, ""
    row.save()
    return f"on plan {plan.code}" + (", still suspended" if row.state != State.ACTIVE else "")


def _ended(organization: Organization, own: Subscription | None, told: Told) -> str:
    if own is None:
        return "there is no subscription here"
    if own.reason == USED_UP:  # filling the balance up must not revive it
        own.reason = ENDED
        own.save()
    return _suspended(own, ENDED)


def _emptied(organization: Organization, own: Subscription | None, told: Told) -> str:
    if own is None:
        plan = terms.plan_of(settings.DEFAULT_PLAN) or Plan.objects.order_by("code").first()
        if plan is None:
            return "there is no plan to suspend it on"
        own = Subscription(organization=organization, plan=plan)
    return _suspended(own, USED_UP)


def _filled(organization: Organization, own: Subscription | None, told: Told) -> str:
    if own is None or own.state != State.SUSPENDED or own.reason != USED_UP:
        return "was not suspended for its balance"
    own.state, own.reason = State.ACTIVE, ""
    own.save()
    return "resumed"


def _suspended(own: Subscription, reason: str) -> str:
    if own.state == State.SUSPENDED:
        return "was suspended already"
    own.state, own.reason = State.SUSPENDED, reason
    own.save()
    return "suspended"


Effect = Callable[[Organization, Subscription | None, Told], str]
EFFECTS: Mapping[str, Effect] = {
    "started": _started,
    "ended": _ended,
    "depleted": _emptied,
    "filled": _filled,
}


# Whom they mean, and whether they are news.


def _organization(told: Told) -> Organization | None:
    """By external ids alone, locked: of two webhooks at once one waits for the other."""
    named = Subscription.objects.filter(external_id=told.external_id).first()
    candidates = [
        named.organization_id if told.external_id and named else None,
        as_uuid(told.external_id),
        as_uuid(told.customer),
    ]
    rows = Organization.objects.select_for_update()
    found = (rows.filter(id=wanted).first() for wanted in candidates if wanted)
    return next(filter(None, found), None)


def _is_own(told: Told, organization: Organization) -> bool:
    return as_uuid(told.external_id) == organization.id


def _is_the_one(told: Told, organization: Organization, own: Subscription | None) -> bool:
    """Whether it is the subscription that counts here; a customer of Lago's may have several."""
    known = own.external_id if own else None
    return told.external_id == known if known else _is_own(told, organization)


def _last(organization: Organization, kind: str) -> Json | None:
    """The newest word of Lago's that counted."""
    lines = AuditEntry.objects.filter(organization=organization, actor=ACTOR, action=kind)
    line = lines.order_by("-id").first()
    return line.details if line else None


def _is_old(told: Told, last: Json) -> bool:
    """Whether something newer has counted already. What happened at the same second is ordered so
    that a new subscription replaces the one it came after, and an end is final for its own."""
    before = as_moment(last.get("at"))
    if told.at is None or before is None or told.at > before:
        return False
    if told.at < before:
        return True
    is_same = told.lago_id == last.get("lago_id")
    if is_same and (told.what, told.plan_code) == (last.get("what"), last.get("plan")):
        return True  # the very same again, under another key
    if told.kind == WALLET or last.get("ends") == told.ends:
        return False
    return not is_same if told.ends else is_same


def _record(organization: Organization, told: Told, outcome: str) -> None:
    details = {
        "what": told.what,
        "outcome": outcome,
        "lago_id": told.lago_id,
        "at": told.at.isoformat() if told.at else None,
        "ends": told.ends,
        "plan": told.plan_code,
    }
    subject = f"organization:{organization.id}"
    audit.record(told.kind, subject, ACTOR, organization, details)
    log.info("lago: %s of %s: %s", told.what, organization.id, outcome)
