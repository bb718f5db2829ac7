"""Prepare ours for the bench: tables, one key, and every model leads to the bench's upstream."""

import argparse
import sys

import django

from opscenter import env


def seed(upstream: str) -> str:
    """The new key, in plain."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from accounts import keys
    from accounts.models import Membership, Organization, all_scopes
    from billing.models import Plan, Subscription
    from proxy.models import Route, Upstream

    call_command("migrate", verbosity=0, interactive=False)
    user = get_user_model().objects.create_user("bench")
    organization = Organization.objects.create(name="Bench")
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    # Every kind of limit is counted, and none is ever reached.
    most = {
        "requests_per_minute": 10**9,
        "requests_per_day": 10**9,
        "tokens_per_day": 10**15,
        "cost_per_month_nano": 10**15,
    }
    plan = Plan.objects.create(code="bench", name="Bench", **most)
    Subscription.objects.create(organization=organization, plan=plan, tokens_per_day=10**15)
    target = Upstream.objects.create(name="bench", kind=Upstream.Kind.ANTHROPIC, base_url=upstream)
    Route.objects.create(pattern="*", position=1, upstream=target)
    _, plain = keys.issue(organization, user, "bench", all_scopes(), None)
    return plain


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    env.use_settings()
    django.setup()  # models cannot be imported before, so seed() imports them
    sys.stdout.write(seed(options.upstream))
