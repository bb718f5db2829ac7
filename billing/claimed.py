"""The plan that a person's token names for their organization, where Lago has no say."""

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Organization
from billing import alarms, terms
from billing.models import Subscription


def put_on(organization: Organization, plan_code: str) -> None:
    """Put the organization on the plan. One that is not there changes nothing and is alarmed."""
    if settings.LAGO_API_URL:  # what is paid for is what counts
        return
    plan = terms.plan_of(plan_code)
    if plan is None:
        detail = f"A token put {organization.id} on {plan_code!r}; its plan stays as it is."
        alarms.sound(alarms.Code.UNKNOWN_PLAN, plan_code, detail)
        return
    with transaction.atomic():
        own = Subscription.objects.select_for_update().filter(organization=organization).first()
        was = own.plan.code if own else None
        if was == plan.code:
            return
        own = own or Subscription(organization=organization)
        own.plan = plan
        own.save()
        subject, told = f"organization:{organization.pk}", {"plan": [was, plan.code]}
        audit.record("subscription.claimed", subject, audit.SYSTEM, organization, told)
