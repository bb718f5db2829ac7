"""The chaos's database and what Lago knows, made as a program: it prints the callers as JSON.

`python -m tests.real.chaos_seed UPSTREAM_URL`, on the empty database that the environment names.
"""

import sys
from dataclasses import dataclass, field

import django
import msgspec

from opscenter import env

env.use_settings()
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (needs Django)
from django.core.management import call_command  # noqa: E402  (needs Django)

from accounts import keys  # noqa: E402  (needs Django)
from accounts.models import Membership, Organization  # noqa: E402  (needs Django)
from accounts.principal import SCOPES  # noqa: E402  (needs Django)
from billing.models import Plan, Subscription  # noqa: E402  (needs Django)
from proxy.models import Route, Upstream  # noqa: E402  (needs Django)
from tests.real.chaos_callers import Bound, Caller  # noqa: E402  (needs Django)

Limits = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An organization on a plan of its own."""

    name: str
    share: int
    limits: Limits = field(default_factory=dict)  # of each user and service key
    cap: Limits = field(default_factory=dict)  # of all together
    overdraft: bool = False
    users: int = 2
    service_keys: int = 0


# What one request uses is about 150 tokens and 2,000,000 nano-dollars: most of the limits are met
# before the end, so that what is refused, held and given back at the border is in the books too.
TENANTS = (
    Tenant(name="Free", share=14, users=3, service_keys=1),
    Tenant(name="Daily", share=6, limits={"requests_per_day": 40}),
    Tenant(name="Tokens", share=6, limits={"tokens_per_day": 6_000}, service_keys=1),
    Tenant(
        name="Budget",
        share=6,
        limits={"cost_per_day_nano": 100_000_000, "cost_per_month_nano": 80_000_000},
    ),
    Tenant(name="Overdraft", share=6, limits={"tokens_per_day": 5_000}, overdraft=True, users=1),
    Tenant(
        name="Capped",
        share=6,
        limits={"tokens_per_day": 900_000},
        cap={"requests_per_day": 110, "tokens_per_day": 12_000},
    ),
)


def main(upstream_url: str) -> None:
    """Make everybody and say who they are."""
    call_command("migrate", verbosity=0)
    upstream = Upstream.objects.create(
        name="scripted", kind=Upstream.Kind.ANTHROPIC, base_url=upstream_url
    )
    Route.objects.create(pattern="*", upstream=upstream)
    callers = [caller for tenant in TENANTS for caller in _made(tenant)]
    call_command("setuplago", stdout=sys.stderr)
    sys.stdout.write(msgspec.json.encode(callers).decode())


def _made(tenant: Tenant) -> list[Caller]:
    organization = Organization.objects.create(name=tenant.name)
    plan = Plan.objects.create(
        code=f"chaos-{tenant.name.lower()}",
        name=tenant.name,
        overdraft=tenant.overdraft,
        **tenant.limits,
    )
    Subscription.objects.create(organization=organization, plan=plan, **tenant.cap)
    users = [_joined(organization, f"{tenant.name}-{n}") for n in range(tenant.users)]
    own = [(user, False) for user in users]
    service = [(users[0], True)] * tenant.service_keys
    return [_caller(tenant, organization, user, is_service) for user, is_service in own + service]


def _joined(organization: Organization, name: str) -> User:
    user = User.objects.create(username=name)
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.MEMBER)
    return user


def _caller(tenant: Tenant, organization: Organization, user: User, is_service: bool) -> Caller:
    key, plaintext = keys.issue(
        organization, user, "chaos", SCOPES, None, is_service=is_service, tags=["by-key"]
    )
    subject = f"key:{key.id}" if is_service else f"user:{user.pk}"
    return Caller(
        key=plaintext,
        api_key_id=key.id,
        organization_id=organization.id,
        user_id=user.pk,
        share=tenant.share,
        bounds=(
            *_bounds(subject, tenant.limits, is_hard=not tenant.overdraft),
            *_bounds("organization", tenant.cap, is_hard=not tenant.overdraft),
        ),
    )


def _bounds(subject: str, limits: Limits, *, is_hard: bool) -> list[Bound]:
    found = []
    day = {
        "requests": limits.get("requests_per_day"),
        "tokens": limits.get("tokens_per_day"),
        "cost_nano": limits.get("cost_per_day_nano"),
    }
    if any(day.values()):
        found.append(Bound(subject=subject, period="day", is_hard=is_hard, **day))
    if month := limits.get("cost_per_month_nano"):
        found.append(Bound(subject=subject, period="month", cost_nano=month, is_hard=is_hard))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
