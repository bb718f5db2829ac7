"""On which terms an organization may use the gateway, kept in memory for a few seconds."""

from collections.abc import Collection
from uuid import UUID

from django.conf import settings

from accounts.memory import Memory
from accounts.reads import off_loop
from billing import models, plans
from billing.plans import UNLIMITED, Limits, Terms, normalized

NO_PLAN = "none"  # as a default: organizations without a subscription have no limits
ORGANIZATIONS_IN_MEMORY = 20_000


def plan_of(code: str) -> models.Plan | None:
    """The plan that a code of ours, Lago's or an identity provider's means; None: no such plan."""
    wanted = normalized(code)
    exact = models.Plan.objects.filter(code__in={code, wanted, wanted.replace("_", "-")}).first()
    if exact is not None:
        return exact
    alias = models.PlanAlias.objects.select_related("plan").filter(code=wanted).first()
    return alias.plan if alias else None


def read(organization_id: UUID) -> Terms:
    """The terms as the database has them now."""
    return read_all([organization_id])[organization_id]


def read_all(organization_ids: Collection[UUID]) -> dict[UUID, Terms]:
    """The same of several, in as many questions as of one."""
    rows = models.Subscription.objects.select_related("plan").filter(pk__in=organization_ids)
    found = {row.pk: _agreed(row) for row in rows}
    missing = [one for one in organization_ids if one not in found]
    return found | (dict.fromkeys(missing, _default()) if missing else {})


def _agreed(subscription: models.Subscription) -> Terms:
    plan = subscription.plan
    return Terms(
        plan=plan.code,
        name=plan.name,
        limits=_limits(plan),
        cap=_limits(subscription),
        overdraft=plan.overdraft,
        suspended=subscription.state == models.Subscription.State.SUSPENDED,
        reason=subscription.reason,
    )


def _default() -> Terms:
    if settings.DEFAULT_PLAN == NO_PLAN:
        return Terms(plan=NO_PLAN, name="No plan", has_subscription=False)
    plan = plan_of(settings.DEFAULT_PLAN)
    if plan is None:
        return Terms(
            plan=settings.DEFAULT_PLAN,
            name=settings.DEFAULT_PLAN,
            has_subscription=False,
            is_unknown=True,
        )
    return Terms(
        plan=plan.code,
        name=plan.name,
        limits=_limits(plan),
        overdraft=plan.overdraft,
        has_subscription=False,
    )


def _limits(row: models.Plan | models.Subscription) -> Limits:
    found = Limits(
        requests_per_minute=row.requests_per_minute,
        requests_per_day=row.requests_per_day,
        tokens_per_day=row.tokens_per_day,
        cost_per_day_nano=row.cost_per_day_nano,
        cost_per_month_nano=row.cost_per_month_nano,
    )
    return UNLIMITED if found == UNLIMITED else found


_memory: Memory[UUID, plans.Terms] = Memory(
    off_loop(read), ttl_s=settings.MEMORY_TTL_S, most=ORGANIZATIONS_IN_MEMORY
)


async def of(organization_id: UUID) -> Terms:
    """The terms as they were at most settings.MEMORY_TTL_S ago. Raises DatabaseAwayError."""
    return await _memory.get(organization_id)


def forget(organization_id: UUID) -> None:
    """Read them anew at the next request, in this process."""
    _memory.forget(organization_id)
