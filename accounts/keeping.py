"""What a person or a key may do about API keys: the rules of the REST pages and of the portal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import audit, keys, rates
from accounts.models import ApiKey, Membership
from accounts.principal import Principal
from accounts.rest import bound

KEYS_LISTED = 200  # more on one page than anybody reads; the answer says when there are more
RULERS = [Membership.Role.OWNER, Membership.Role.ADMIN]  # who manage everybody's keys

ONLY_RULERS = "Only an owner or an admin of the organization may make service keys."


class NotAllowedError(Exception):
    """They may not do this. `field` is what asks for too much, empty where it is all of it."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class TakenError(Exception):
    """There is a key with the wanted id already. Nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A key as somebody wants to have it."""

    name: str
    scopes: Sequence[str]
    days: int | None = None  # None: it does not expire
    is_service: bool = False
    tags: Iterable[str] = ()
    key_id: str | None = None  # None: any; else one that `keys.new_id` made


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Somebody who keeps keys: a signed-in person, or with `caller` a key of theirs."""

    user: User
    caller: Principal | None = None

    @property
    def actor(self) -> str:
        """As the audit trail names them."""
        return audit.caller(self.caller) if self.caller else audit.user(self.user.pk)

    def memberships(self) -> QuerySet[Membership]:
        """Where they may act: a key only in its own organization."""
        mine = Membership.objects.filter(user=self.user)
        return mine.filter(organization_id=self.caller.organization_id) if self.caller else mine

    def place(self, wanted: UUID | None) -> Membership | None:
        """Their place in this organization, or in their oldest. None: they have none there."""
        mine = self.memberships().select_related("organization").order_by("created_at", "id")
        return mine.filter(organization=wanted).first() if wanted else mine.first()

    def visible(self) -> QuerySet[ApiKey]:
        """One's own keys, and all keys of the organizations that one rules."""
        mine = self.memberships()
        ruled = mine.filter(role__in=RULERS)
        return ApiKey.objects.select_related("user").filter(
            Q(organization__in=ruled.values("organization"))
            | Q(organization__in=mine.values("organization"), user=self.user)
        )

    def make(self, place: Membership, wanted: Wanted) -> tuple[ApiKey, str]:
        """A new key and its plaintext. Raises NotAllowedError, TooOftenError, TakenError."""
        if self.caller and (more := set(wanted.scopes) - self.caller.scopes):
            text = f"{_lacks(more)} It can only pass on what it has."
            raise NotAllowedError(text, "scopes")
        if wanted.is_service and place.role not in RULERS:
            # Each has limits of its own: a member could have as much as they like.
            raise NotAllowedError(ONLY_RULERS, "service")
        self._bound_secrets()
        try:
            return self._made(place, wanted)
        except IntegrityError as error:
            if wanted.key_id and ApiKey.objects.filter(id=wanted.key_id).exists():
                raise TakenError from error
            raise

    def _made(self, place: Membership, wanted: Wanted) -> tuple[ApiKey, str]:
        with transaction.atomic():
            key, plaintext = keys.issue(
                place.organization,
                self.user,
                wanted.name,
                wanted.scopes,
                timezone.now() + timedelta(days=wanted.days) if wanted.days else None,
                is_service=wanted.is_service,
                tags=wanted.tags,
                key_id=wanted.key_id,
            )
            self._record(audit.KEY_CREATED, key, **audit.made(key))
        return key, plaintext

    def check_rotation(self, key: ApiKey) -> None:
        """Raise NotAllowedError where they must not have the key's new secret."""
        # A key must not get at one that may do more.
        if self.caller is None:
            return
        if key.user_id != self.caller.user_id:
            raise NotAllowedError("A key can rotate only keys of its own user.")
        if more := set(key.scopes) - self.caller.scopes:
            raise NotAllowedError(_lacks(more))

    def rotate(self, key: ApiKey, grace_hours: int) -> str:
        """Its new secret. Raises NotAllowedError, TooOftenError, keys.ClosedKeyError."""
        self.check_rotation(key)
        self._bound_secrets()
        with transaction.atomic():
            plaintext = keys.rotate(key, timedelta(hours=grace_hours))
            self._record(audit.KEY_ROTATED, key, name=key.name, grace_hours=grace_hours)
        return plaintext

    def revoke(self, key: ApiKey) -> bool:
        """Close a key for good. False: it was closed before."""
        with transaction.atomic():
            if is_closed := keys.revoke(key):
                self._record(audit.KEY_REVOKED, key, name=key.name)
        return is_closed

    def _bound_secrets(self) -> None:
        bound(rates.KEY_SECRETS, self.user.pk, "A user can make and rotate keys")

    def _record(self, action: str, key: ApiKey, **details: Any) -> None:
        audit.record(action, audit.key(key.id), self.actor, key.organization, details)


def _lacks(more: Iterable[str]) -> str:
    return f"Your own key lacks: {', '.join(sorted(more))}."
