"""The REST pages on which people and programs keep their API keys."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.described import described
from accounts.keeping import KEYS_LISTED, Keeper, NotAllowedError, Wanted
from accounts.models import ApiKey, Membership
from accounts.principal import KEYS_WRITE, Principal
from accounts.rest import BoundedJSONParser, HasScope
from accounts.serializers import IssuedKey, Key, Keys, NewKey, Rotation

TAG = "API keys"


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

    def keeper(self) -> Keeper:
        """The caller, as who keeps keys."""
        return Keeper(user=self.user(), caller=self.principal())

    def actor(self) -> str:
        return self.keeper().actor

    def memberships(self) -> QuerySet[Membership]:
        """Where the caller may act: a key only in its own organization."""
        return self.keeper().memberships()

    def visible(self) -> QuerySet[ApiKey]:
        """One's own keys, and all keys of the organizations that one rules."""
        return self.keeper().visible()

    def shown(self, key: ApiKey) -> dict[str, Any]:
        return dict(Key(key, context={"now": timezone.now()}).data)


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
    )
    def post(self, request: Request) -> Response:
        body = NewKey(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        place = self.keeper().place(wanted["organization"])
        if place is None:
            # One that does not exist and one of somebody else get the same answer.
            raise ValidationError({"organization": ["You are not a member of it, or of any."]})
        try:
            key, plaintext = self.keeper().make(
                place,
                Wanted(
                    name=wanted["name"],
                    scopes=wanted["scopes"],
                    days=wanted["expires_in_days"],
                    is_service=wanted["service"],
                    tags=wanted["tags"],
                ),
            )
        except NotAllowedError as error:
            raise PermissionDenied({error.field: [str(error)]}) from error
        return Response(self.shown(key) | {"key": plaintext}, status=201)


class ApiKeyDetail(KeyPage):
    """Show one key; revoke it."""

    @described("keys_show", tag=TAG, summary="Show a key", gives=Key, refuses=(404,))
    def get(self, request: Request, key_id: str) -> Response:
        return Response(self.shown(get_object_or_404(self.visible(), id=key_id)))

    @described("keys_revoke", tag=TAG, summary="Revoke a key", status=204, refuses=(404,))
    def delete(self, request: Request, key_id: str) -> Response:
        key = get_object_or_404(self.visible().select_related("organization"), id=key_id)
        self.keeper().revoke(key)
        return Response(status=204)


class ApiKeyRotation(KeyPage):
    """Give a key a new secret."""

    @described(
        "keys_rotate",
        tag=TAG,
        summary="Give a key a new secret",
        body=Rotation,
        gives=IssuedKey,
        refuses=(404, 409),
    )
    def post(self, request: Request, key_id: str) -> Response:
        key = get_object_or_404(self.visible().select_related("organization"), id=key_id)
        try:
            self.keeper().check_rotation(key)  # before its body is read
            body = Rotation(data=request.data)
            body.is_valid(raise_exception=True)
            plaintext = self.keeper().rotate(key, body.validated_data["grace_hours"])
        except NotAllowedError as error:
            raise PermissionDenied(str(error)) from error
        except keys.ClosedKeyError as error:
            raise ConflictError(str(error)) from error
        return Response(self.shown(key) | {"key": plaintext})
