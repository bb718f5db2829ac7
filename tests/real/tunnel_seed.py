"""The database of the tunnel's tests, made as a program: it prints who may use it, as JSON.

`python -m tests.real.tunnel_seed COUNT [UPSTREAM_URL]`, on the empty database that the environment
names. Every model leads to the upstream, if there is one.
"""

import json
import sys

import django

from opscenter import env

env.use_settings()
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (needs Django)
from django.core.management import call_command  # noqa: E402  (needs Django)

from accounts import keys  # noqa: E402  (needs Django)
from accounts.models import Membership, Organization  # noqa: E402  (needs Django)
from accounts.principal import SCOPES  # noqa: E402  (needs Django)
from proxy.models import Route, Upstream  # noqa: E402  (needs Django)


def main(count: int, upstream_url: str = "") -> None:
    """Make so many users of one organization, each with a key."""
    call_command("migrate", verbosity=0)
    if upstream_url:
        kind = Upstream.Kind.ANTHROPIC
        upstream = Upstream.objects.create(name="scripted", kind=kind, base_url=upstream_url)
        Route.objects.create(pattern="*", upstream=upstream)
    organization = Organization.objects.create(name="Acme")
    owners = []
    for number in range(count):
        user = User.objects.create(username=f"user-{number}")
        role = Membership.Role.MEMBER
        Membership.objects.create(organization=organization, user=user, role=role)
        _, key = keys.issue(organization, user, "laptop", list(SCOPES), None)
        owners.append({"key": key, "user_id": user.pk})
    sys.stdout.write(json.dumps(owners))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
