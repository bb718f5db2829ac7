"""The REST pages on which people and programs keep their API keys."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit, keys, rates
from accounts.described import described
from accounts.models import ApiKey, Membership
from accounts.principal import KEYS_WRITE, Principal
from accounts.rest import BoundedJSONParser, HasScope, bound
from accounts.serializers import IssuedKey, Key, Keys, NewKey, Rotation

TAG = "API keys"
KEYS_LISTED = 200  # more on one page than anybody reads; the answer says when there are more
RULERS = [Membership.Role.OWNER, Membership.Role.ADMIN]  # who manage everybody's keys


class ConflictError(APIException):
    """Somebody else was faster, or it is too late."""

    status_code = 409
    default_code = "conflict"


class KeyPage(APIView):
    """What all pages about keys share: who may come in, what they see, how it is shown."""

    parser_classes = [BoundedJSONParser]
    permission_classes = [HasScope(KEYS_WRITE)]

    def user(self) -> User:
        user = self.request.user
        assert isinstance(user, User)  # noqa: S101  (the permission let nobody else in)
        return user

    def principal(self) -> Principal | None:
        """The API key that calls; None for a signed-in person."""
        return self.request.auth if isinstance(self.request.auth, Principal) else None

    def actor(self) -> str:
        caller = self.principal()
        return audit.caller(caller) if caller else audit.user(self.user().pk)

    def memberships(self) -> QuerySet[Membership]:
        """Where the caller may act: a key only in its own organization."""
        mine = Membership.objects.filter(user=self.user())
        caller = self.principal()
        return mine.filter(organization_id=caller.organization_id) if caller else mine

    def visible(self) -> QuerySet[ApiKey]:
        """One's own keys, and all keys of the organizations that one rules."""
        mine = self.memberships()
        ruled = mine.filter(role__in=RULERS)
        return ApiKey.objects.select_related("user").filter(
            Q(organization__in=ruled.values("organization"))
            | Q(organization__in=mine.values("organization"), user=self.user())
        )

    def shown(self, key: ApiKey) -> dict[str, Any]:
        return dict(Key(key, context={"now": timezone.now()}).data)

    def bound_secrets(self) -> None:
        """Count a new secret. Raises TooOftenError when the caller made too many of late."""
        bound(rates.KEY_SECRETS, self.user().pk, "A user can make and rotate keys")

    def record(self, action: str, key: ApiKey, **details: Any) -> None:
        audit.record(action, audit.key(key.id), self.actor(), key.organization, details)


class ApiKeys(KeyPage):
    """List keys; make one."""

    @described("keys_list", tag=TAG, summary="List keys", gives=Keys)
    def get(self, request: Request) -> Response:
        newest = self.visible().order_by("-created_at", "-id")[: KEYS_LISTED + 1]
        rows = list(newest)
        listed = Key(rows[:KEYS_LISTED], many=True, context={"now": timezone.now()})
        return Response(
            {"results": listed.data, "limit": KEYS_LISTED, "has_more": len(rows) > KEYS_LISTED}
        )

    @described(
        "keys_create",
        tag=TAG,
        summary="Make a key",
        body=NewKey,
        gives=IssuedKey,
        status=201,
        refuses=(413, 429),
    )
    def post(self, request: Request) -> Response:
        body = NewKey(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        self._refuse_more_scopes(wanted["scopes"])
        place = self._place(wanted["organization"])
        if wanted["service"] and place.role not in RULERS:
            # Each has limits of its own: a member could have as much as they like.
            text = "Only an owner or an admin of the organization may make service keys."
            raise PermissionDenied({"service": [text]})
        self.bound_secrets()
        days = wanted["expires_in_days"]
        with transaction.atomic():
            key, plaintext = keys.issue(
                place.organization,
                self.user(),
                wanted["name"],
                wanted["scopes"],
                timezone.now() + timedelta(days=days) if days else None,
                is_service=wanted["service"],
                tags=wanted["tags"],
            )
            self.record(audit.KEY_CREATED, key, **audit.made(key))
        return Response(self.shown(key) | {"key": plaintext}, status=201)

    def _refuse_more_scopes(self, scopes: list[str]) -> None:
        caller = self.principal()
        if caller and (more := set(scopes) - caller.scopes):
            text = (
                f"Your own key lacks: {', '.join(sorted(more))}. It can only pass on what it has."
            )
            raise PermissionDenied({"scopes": [text]})

    def _place(self, wanted: UUID | None) -> Membership:
        """The caller's membership of the organization that the key is for."""
        mine = self.memberships().select_related("organization").order_by("created_at", "id")
        # One that does not exist and one of somebody else get the same answer.
        membership = mine.filter(organization=wanted).first() if wanted else mine.first()
        if membership is None:
            raise ValidationError({"organization": ["You are not a member of it, or of any."]})
        return membership


class ApiKeyDetail(KeyPage):
    """Show one key; revoke it."""

    @described("keys_show", tag=TAG, summary="Show a key", gives=Key, refuses=(404,))
    def get(self, request: Request, key_id: str) -> Response:
        return Response(self.shown(get_object_or_404(self.visible(), id=key_id)))

    @described("keys_revoke", tag=TAG, summary="Revoke a key", status=204, refuses=(404,))
    def delete(self, request: Request, key_id: str) -> Response:
        key = get_object_or_404(self.visible().select_related("organization"), id=key_id)
        with transaction.atomic():
            if keys.revoke(key):
                self.record(audit.KEY_REVOKED, key, name=key.name)
        return Response(status=204)


class ApiKeyRotation(KeyPage):
    """Give a key a new secret."""

    @described(
        "keys_rotate",
        tag=TAG,
        summary="Give a key a new secret",
        body=Rotation,
        gives=IssuedKey,
        refuses=(404, 409, 413, 429),
    )
    def post(self, request: Request, key_id: str) -> Response:
        key = get_object_or_404(self.visible().select_related("organization"), id=key_id)
        self._refuse_higher_key(key)
        body = Rotation(data=request.data)
        body.is_valid(raise_exception=True)
        self.bound_secrets()
        hours = body.validated_data["grace_hours"]
        try:
            with transaction.atomic():
                plaintext = keys.rotate(key, timedelta(hours=hours))
                self.record(audit.KEY_ROTATED, key, name=key.name, grace_hours=hours)
        except keys.ClosedKeyError as error:
            raise ConflictError(str(error)) from error
        return Response(self.shown(key) | {"key": plaintext})

    def _refuse_higher_key(self, key: ApiKey) -> None:
        # The answer holds the key's new secret: a key must not get at one that may do more.
        caller = self.principal()
        if caller is None:
            return
        if key.user_id != caller.user_id:
            raise PermissionDenied("A key can rotate only keys of its own user.")
        if more := set(key.scopes) - caller.scopes:
            raise PermissionDenied(f"Your own key lacks: {', '.join(sorted(more))}.")
