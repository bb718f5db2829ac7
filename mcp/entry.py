"""Who may open a WebSocket here: the key says who it is, and the path must agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from accounts import auth
from accounts.addresses import client_of
from accounts.principal import CALLBACK, Principal
from accounts.reads import DatabaseAwayError

ME = "me"


@dataclass(slots=True)
class NoEntryError(Exception):
    """No handshake. As an HTTP answer."""

    status: int
    kind: str
    text: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Who came in, and what they showed."""

    principal: Principal
    shown: auth.Shown | None


async def enter(scope: Mapping[str, Any], user: str) -> Entered:
    """Who opens the socket at the path of `user`. Raises NoEntryError.

    Only headers are looked at: what stands in a query string ends in the logs of proxies.
    """
    headers: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, []).append(value.decode("latin-1"))
    if b"origin" in headers:
        text = "A page in a browser has no business here: the request has an Origin header."
        raise NoEntryError(403, "permission_error", text)
    authorization = headers.get(b"authorization", [""])[-1]
    x_api_key = headers.get(b"x-api-key", [""])[-1]
    peer, _ = scope.get("client") or ("", 0)  # behind a Unix socket there is none
    address = client_of(peer, headers.get(b"x-forwarded-for", []), settings.TRUSTED_PROXIES)
    principal = await _identified(authorization, x_api_key, address)
    if user not in {ME, str(principal.user_id)}:
        text = f"This key is of user {principal.user_id}; the path names another: say `me`."
        raise NoEntryError(403, "permission_error", text)
    shown = await auth.shown(principal, authorization, x_api_key)
    if shown is None:  # a token that ended just now; nothing would ever judge it again
        raise NoEntryError(401, "authentication_error", "What was shown has ended. Come back.")
    return Entered(principal=principal, shown=shown)


async def _identified(authorization: str, x_api_key: str, address: str) -> Principal:
    try:
        principal = await auth.identify(authorization, x_api_key, address)
        auth.require(principal, CALLBACK)
    except auth.TooManyFailuresError as error:
        again = [(b"retry-after", str(error.retry_in_s).encode())]
        raise NoEntryError(429, "rate_limit_error", str(error), again) from error
    except auth.CredentialError as error:
        how = [(b"www-authenticate", b'Bearer realm="Ops-Center"')]
        raise NoEntryError(401, "authentication_error", str(error), how) from error
    except auth.ScopeError as error:
        raise NoEntryError(403, "permission_error", str(error)) from error
    except DatabaseAwayError as error:
        again = [(b"retry-after", b"1")]
        raise NoEntryError(503, "overloaded_error", str(error), again) from error
    return principal
