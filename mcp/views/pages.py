"""What the tunnel's pages share: who may come in, and what they see."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from rest_framework.exceptions import APIException, NotFound, ValidationError

from accounts.models import Membership
from accounts.principal import CALLBACK, Principal
from accounts.rest import BoundedJSONParser, HasScope
from accounts.views import KeyPage

TAG = "Machines and their tools"
NOT_YOURS = "You are not a member of it, or of any."
USER_DIGITS = 18  # what a column of 64 bits holds
BODY_MAX_BYTES = 2 * 1024 * 1024  # the largest arguments, spelled with escapes


class ConflictError(APIException):
    """It does not fit what is there."""

    status_code = 409
    default_code = "conflict"


SEES, CHANGES = "mcp.view_toolcall", "mcp.change_toolcall"


class TunnelParser(BoundedJSONParser):
    """JSON as large as arguments of a tool may be."""

    most_bytes = BODY_MAX_BYTES


class TunnelPage(KeyPage):
    """A page for keys with `mcp-callback`, and for signed-in people."""

    parser_classes = [TunnelParser]
    permission_classes = [HasScope(CALLBACK)]

    def is_operator(self, right: str = SEES) -> bool:
        """Whether it is staff with this right. A key of theirs is a key: it sees what its owner's
        place lets it see."""
        user = self.user()
        return user.is_staff and self.principal() is None and user.has_perm(right)

    def of_organizations(self) -> Q:
        """What the caller sees of rows that have an organization."""
        if self.is_operator():
            return Q()
        return Q(organization__in=self.memberships().values("organization"))

    def own(self, right: str = SEES) -> Q:
        """What the caller sees, or may change, of rows that have a user too."""
        if self.is_operator(right):
            return Q()
        mine = Q(organization__in=self.memberships().values("organization"))
        return mine & Q(user=self.user())

    def acting(self, wanted: UUID | None = None) -> Principal:
        """The caller as who acts: the key's, or a signed-in person in one organization."""
        if caller := self.principal():
            if wanted not in (None, caller.organization_id):
                raise ValidationError({"organization": [NOT_YOURS]})
            return caller
        mine: Any = self.memberships().order_by("created_at", "id")
        place: Membership | None = (
            mine.filter(organization=wanted).first() if wanted else mine.first()
        )
        if place is None:
            # One that does not exist and one of somebody else get the same answer.
            raise ValidationError({"organization": [NOT_YOURS]})
        return Principal(
            organization_id=place.organization_id,
            user_id=self.user().pk,
            key_id="",
            scopes=frozenset({CALLBACK}),
        )

    def user_in(self, path: str) -> int:
        """The user that the path names. Others' are not found, whether they exist or not."""
        own: int = self.user().pk
        user_id = own if path == "me" else _number(path)
        if user_id is None or (user_id != own and not self.is_operator()):
            raise NotFound("There is no such user for you to see. Say `me`, or your number.")
        return user_id


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= USER_DIGITS
    return int(text) if is_number else None
