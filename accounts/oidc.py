"""People sign in at Keycloak: OpenID Connect's code flow, with PKCE, state and nonce."""

import logging
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.middleware import SessionRefresh
from mozilla_django_oidc.views import (
    OIDCAuthenticationCallbackView,
    OIDCAuthenticationRequestView,
)

from accounts import claims, identities, jwt, sessions
from accounts.claims import Claims
from accounts.models import Identity
from accounts.signin import PAGE_POLICY, bound_session

log = logging.getLogger(__name__)

AWAY = "Keycloak does not answer, so nobody can be signed in just now. Try again in a minute."
OVER = "Your session at Keycloak has ended. Sign in again."
STATE = (
    "This sign-in was not begun in this browser, or it was used already, or it took too long."
    " Begin it again from here."
)
REFUSED = "Keycloak's answer could not be trusted, so nobody was signed in. Begin again from here."
OVERDUE = "Your session must be renewed at Keycloak: load the page again."
INACTIVE = "This account is deactivated here. Ask an operator."
# What Keycloak says where somebody must first do something there (OIDC Core 1.0, 3.1.2.6).
ENDED = frozenset({"login_required", "interaction_required", "consent_required"})
CALLBACK = "oidc_authentication_callback"
HINT_CHARS = 6000  # some servers take no longer addresses
MOST_AWAY_S = 60  # how soon a session is tried again that could not be renewed


class Backend(OIDCAuthenticationBackend):  # type: ignore[misc]  # it has no types
    """Users by issuer and subject, and staff by the roles of our own client."""

    def authenticate(self, request: Any, **more: Any) -> User | None:
        """Only what Callback asks: a password's form may hold a code, too."""
        if not more.get("nonce"):
            return None
        found: User | None = super().authenticate(request, **more)
        return found

    def get_user(self, user_id: Any) -> Any:
        # The library's own gives out who is deactivated.
        return ModelBackend.get_user(self, user_id)

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Both tokens. Raises jwt.TokenError where there are not two."""
        found = super().get_token(payload | {"redirect_uri": settings.OIDC_CALLBACK_URL})
        tokens = found if isinstance(found, dict) else {}
        if not all(isinstance(tokens.get(name), str) for name in ("access_token", "id_token")):
            raise jwt.TokenError("Keycloak's answer has no tokens")
        return tokens

    def verify_token(self, token: Any, **more: Any) -> jwt.Payload:
        """The ID token's payload. Raises jwt.TokenError, jwt.KeysAwayError."""
        return async_to_sync(jwt.identity)(str(token), more.get("nonce"))

    def get_or_create_user(self, access_token: str, id_token: str, payload: jwt.Payload) -> User:
        """Whoever both tokens are of. Raises jwt.TokenError, jwt.KeysAwayError."""
        access = async_to_sync(jwt.access)(access_token)
        if access["sub"] != payload["sub"]:
            raise jwt.TokenError("The two tokens are of two people (`sub`)")
        told = claims.read(payload | access, settings.OIDC_CLAIMS)
        identity = identities.signed_in(told)
        self.has_signed_in(identity, told)
        self.request.at_keycloak = (identity, told)
        return identity.user

    def has_signed_in(self, identity: Identity, told: Claims) -> None:
        """For what other apps take from the claims."""


class Begin(OIDCAuthenticationRequestView):  # type: ignore[misc]  # it has no types
    """Off to Keycloak, from the address that it sends people back to."""

    def get(self, request: HttpRequest) -> HttpResponse:
        own = urlsplit(settings.OIDC_CALLBACK_URL)
        if request.get_host() != own.netloc:  # there this browser has no cookie of ours
            return HttpResponseRedirect(f"{own.scheme}://{own.netloc}{request.get_full_path()}")
        response: HttpResponse = super().get(request)
        response.headers["Cache-Control"] = "no-store"
        return response


class Callback(OIDCAuthenticationCallbackView):  # type: ignore[misc]  # it has no types
    """Back from Keycloak, with a code or with a refusal."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Whatever is wrong, a page says what to do."""
        if request.GET.get("state") not in request.session.get("oidc_states", {}):
            # Nobody is signed out by a link that somebody sends them.
            return failed(request, STATE, 400)
        if "error" in request.GET:
            log.info("a sign-in failed at Keycloak: %.100r", request.GET["error"])
        try:
            response: HttpResponse = super().get(request)
            return response
        except (requests.ConnectionError, requests.Timeout, jwt.KeysAwayError) as error:
            log.warning("a sign-in found no Keycloak: %r", error)
            return failed(request, AWAY, 503)
        except (requests.RequestException, SuspiciousOperation, jwt.TokenError) as error:
            log.warning("a sign-in was refused: %s", _reason(error))
            return failed(request, REFUSED, 400)

    def login_success(self) -> HttpResponse:
        response: HttpResponse = super().login_success()
        identity, told = self.request.at_keycloak
        if not sessions.began(identity, told, self.request.session.session_key or ""):
            auth.logout(self.request)
            return failed(self.request, OVER, 401)
        bound_session(self.request)
        return response

    def login_failure(self) -> HttpResponse:
        if self.request.GET.get("error") in ENDED:
            return failed(self.request, OVER, 401)
        auth.logout(self.request)
        user = getattr(self, "user", None)
        return failed(self.request, INACTIVE if user else REFUSED, 403)


class Renewal(SessionRefresh):  # type: ignore[misc]  # it has no types
    """Asks Keycloak now and then, unseen, whether a session is still good there."""

    @cached_property
    def exempt_urls(self) -> set[str]:
        return {reverse(name) for name in ("oidc_authentication_init", CALLBACK, "sign-out")}

    def is_refreshable_url(self, request: HttpRequest) -> bool:
        """Only where a person goes to a page: a script cannot follow to Keycloak and back."""
        is_navigation = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
        by_script = "hx-request" in request.headers or "part" in request.GET
        return is_navigation and not by_script and bool(super().is_refreshable_url(request))

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        response: HttpResponse | None = super().process_request(request)
        if response is None and self._is_long_overdue(request):
            # What cannot follow to Keycloak must not go on for ever without.
            response = HttpResponse(OVERDUE, status=401, content_type="text/plain")
        if response is None or async_to_sync(jwt.is_issuer_there)(settings.OIDC_ISSUER):
            return response
        # Nobody is thrown out because Keycloak is away; the session's own age is the bound.
        request.session["oidc_id_token_expiration"] = time.time() + MOST_AWAY_S
        log.warning("a session was not renewed: Keycloak does not answer")
        return None

    def _is_long_overdue(self, request: HttpRequest) -> bool:
        expires = request.session.get("oidc_id_token_expiration")
        is_late = expires is not None and time.time() - expires > settings.OIDC_OVERDUE_S
        return is_late and request.user.is_authenticated and request.path not in self.exempt_urls


def failed(request: HttpRequest, text: str, status: int) -> HttpResponse:
    """The page of a sign-in that came to nothing."""
    page = {"text": text}
    policy = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"}
    return TemplateResponse(request, "sign_in_failed.html", page, status=status, headers=policy)


def logout_url(request: HttpRequest) -> str:
    """Where a browser goes that signs out (OpenID Connect RP-Initiated Logout 1.0, section 2)."""
    token = request.session.get("oidc_id_token")
    if not token:
        return str(settings.LOGIN_URL)
    asked = {
        "client_id": settings.OIDC_RP_CLIENT_ID,
        "post_logout_redirect_uri": settings.LOGOUT_REDIRECT_URL,
    }
    if len(token) <= HINT_CHARS:  # without it Keycloak asks the person whether they mean it
        asked["id_token_hint"] = token
    return f"{settings.OIDC_OP_LOGOUT_ENDPOINT}?{urlencode(asked)}"


def _reason(error: Exception) -> str:
    """For the log. What a server answered may hold a code or a token."""
    if isinstance(error, requests.RequestException) and error.response is not None:
        return f"Keycloak answered {error.response.status_code}"
    return str(error)
