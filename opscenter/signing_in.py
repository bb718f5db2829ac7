"""The sign-in at Keycloak, with what every app takes from its claims."""

from accounts.claims import Claims
from accounts.models import Identity, Membership, Organization
from accounts.oidc import Backend
from billing import claimed


class KeycloakBackend(Backend):
    """Accounts' own, and the plan that a token names for the organizations it names."""

    def has_signed_in(self, identity: Identity, told: Claims) -> None:
        if not told.plan:
            return
        # Not the one for all whose tokens name none.
        named = {"issuer": told.issuer, "external_id__in": told.organizations}
        places = Membership.objects.filter(
            user=identity.user,
            by_claims=True,
            organization__in=Organization.objects.filter(**named),
        )
        for place in places.select_related("organization"):
            claimed.put_on(place.organization, told.plan)
