"""The same credentials for REST pages: authentication, scopes, and a body with bounds."""

import io
import json
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ParseError,
    PermissionDenied,
)
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import auth, rates
from accounts.addresses import client_of
from accounts.principal import Principal
from accounts.reads import DatabaseAwayError

if TYPE_CHECKING:  # rest_framework.views imports this file, by way of the settings
    from rest_framework.views import APIView

BODY_MAX_BYTES = 64 * 1024  # fifty times the largest sensible body of an account page


class TooOftenError(APIException):
    """It was done too often; `wait` becomes Retry-After."""

    status_code = 429
    default_code = "throttled"

    def __init__(self, text: str, wait: int) -> None:
        super().__init__(text)
        self.wait = wait


def address_of(request: HttpRequest | Request) -> str:
    """What the client is counted by; several header lines arrive joined by commas."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    peer = request.META.get("REMOTE_ADDR", "")
    return client_of(peer, [forwarded], settings.TRUSTED_PROXIES)


def bound(group: str, who: object, what: str) -> None:
    """Count one more of `group` for `who`, or raise TooOftenError. `what` may be done so often."""
    found = rates.tried(group, str(who))
    if found is not None and found.is_over:
        minutes = rates.RATES[group].period_s // rates.MINUTE_S
        often = f"{found.limit} times in {minutes} minute{'s' if minutes > 1 else ''}"
        text = f"{what} only {often}. Try again in {found.resets_in_s} seconds."
        raise TooOftenError(text, found.resets_in_s)


class AwayError(APIException):
    """What a credential is judged by does not answer."""

    status_code = 503
    default_code = "away"
    wait = 5  # becomes Retry-After


class ApiKeyAuthentication(BaseAuthentication):
    """`request.user` is the key's owner and `request.auth` its `Principal`."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        authorization = request.META.get("HTTP_AUTHORIZATION", "")
        x_api_key = request.META.get("HTTP_X_API_KEY", "")
        if not authorization and not x_api_key:
            return None  # the session gets its turn
        try:
            principal = async_to_sync(auth.identify)(authorization, x_api_key, address_of(request))
            return User.objects.get(id=principal.user_id), principal
        except auth.TooManyFailuresError as error:
            raise TooOftenError(str(error), error.retry_in_s) from error
        except auth.CredentialError as error:
            raise AuthenticationFailed(str(error)) from error
        except DatabaseAwayError as error:
            raise AwayError(str(error)) from error
        except User.DoesNotExist as error:  # deleted while the key was still in memory
            raise AuthenticationFailed(auth.UNKNOWN) from error

    def authenticate_header(self, request: Request) -> str:
        # Without it Django REST framework answers 403 where 401 is meant.
        return 'Bearer realm="Ops-Center"'


def HasScope(scope: str) -> type[BasePermission]:  # noqa: N802  (it reads as the class it makes)
    """Let signed-in people through, and keys that have `scope`."""

    class HasThisScope(BasePermission):
        def has_permission(self, request: Request, view: "APIView") -> bool:
            if isinstance(request.auth, Principal):
                try:
                    auth.require(request.auth, scope)
                except auth.ScopeError as error:
                    raise PermissionDenied(str(error)) from error
            return bool(request.user and request.user.is_authenticated)

    return HasThisScope


class BodyTooLargeError(APIException):
    """The body is larger than any sensible one."""

    status_code = 413
    default_code = "too_large"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"The body must not be larger than {most_bytes} bytes.")


class BoundedJSONParser(JSONParser):
    """JSON of a bounded size that can be stored and sent back as UTF-8."""

    most_bytes = BODY_MAX_BYTES

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(self.most_bytes + 1)
        if len(body) > self.most_bytes:
            raise BodyTooLargeError(self.most_bytes)
        try:
            value = super().parse(io.BytesIO(body), media_type, parser_context)
            # Half a surrogate pair is legal JSON, but no database and no answer can hold it.
            # And what JSON writes as 1e999 is Infinity here, which JSON cannot write.
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except RecursionError as error:
            raise ParseError("The body nests too deeply.") from error
        except UnicodeEncodeError as error:
            raise ParseError("The body holds half of a surrogate pair.") from error
        except ValueError as error:
            raise ParseError("The body holds a number that is too large.") from error
        return value
