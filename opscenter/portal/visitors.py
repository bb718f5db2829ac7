"""Who visits, and which of their organizations they are in just now."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest

from accounts.keeping import RULERS, Keeper
from accounts.models import Membership, Organization

CHOSEN = "portal_organization"  # in the session
_KEPT = "portal_visitor"  # on the request: the frame asks again what its page has asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A signed-in person. `here` is their place in the organization they have chosen."""

    user: User
    places: list[Membership]
    here: Membership

    @property
    def organization(self) -> Organization:
        return self.here.organization

    @property
    def rules(self) -> bool:
        """Whether they see what belongs to the others of the organization too."""
        return self.here.role in RULERS

    @property
    def keeper(self) -> Keeper:
        return Keeper(user=self.user)


def visitor_of(request: HttpRequest) -> Visitor | None:
    """Whoever is signed in. None: they belong to no organization, so there is nothing to see."""
    if not hasattr(request, _KEPT):
        setattr(request, _KEPT, _read(request))
    found: Visitor | None = getattr(request, _KEPT)
    return found


def choose(request: HttpRequest, organization_id: UUID) -> bool:
    """Remember one of their organizations. False: it is none of theirs."""
    visitor = visitor_of(request)
    ids = {place.organization_id for place in visitor.places} if visitor else set()
    if organization_id not in ids:
        return False
    request.session[CHOSEN] = str(organization_id)
    return True


def _read(request: HttpRequest) -> Visitor | None:
    user = request.user
    if not isinstance(user, User):
        return None
    mine = Keeper(user=user).memberships().select_related("organization")
    places = list(mine.order_by("created_at", "id"))
    if not places:
        return None
    chosen = request.session.get(CHOSEN)
    here = next((p for p in places if str(p.organization_id) == chosen), places[0])
    return Visitor(user=user, places=places, here=here)
