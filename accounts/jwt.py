"""Verify what Keycloak signs: access tokens, ID tokens and logout tokens."""

from collections.abc import Mapping
from typing import Any

import jwt
from django.conf import settings

from accounts import jwks
from accounts.jwks import KeysAwayError, PublishedKeys

__all__ = ["KeysAwayError", "OverError", "TokenError"]

MOST_CHARS = 64 * 1024  # a token with a hundred roles has a tenth of it
MOST_LIFE_S = 24 * 60 * 60  # of a token; one that lives longer cannot be taken back in time
LEEWAY_S = 10  # between the clocks of two machines
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"

_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_LOGOUT_REQUIRED = ["exp", "iat", "iss", "aud", "jti", "events"]

Payload = dict[str, Any]


class TokenError(Exception):
    """No token of ours. The text says what is wrong with it and holds nothing of it."""


class OverError(TokenError):
    """A token that did open something here, and no longer does."""


_keys: dict[str, PublishedKeys] = {}


def is_one(credential: str) -> bool:
    """Whether `credential` looks like a token, as no key of ours does (RFC 7519, section 3)."""
    return credential.startswith("eyJ") and credential.count(".") == 2


async def access(token: str) -> Payload:
    """The payload of an access token for this gateway. Raises TokenError, KeysAwayError."""
    payload = await _verified(token, settings.OIDC_AUDIENCE, _REQUIRED)
    if payload.get("typ") != "Bearer":
        raise TokenError("This is no access token: its `typ` must be Bearer")
    if payload.get("azp") not in settings.OIDC_TOKEN_CLIENTS:
        raise TokenError("This token was made for a client that may not use this gateway (`azp`)")
    return payload


async def identity(token: str, nonce: str | None) -> Payload:
    """The payload of an ID token for our own client, of the sign-in that `nonce` began.

    OpenID Connect Core 1.0, section 3.1.3.7. Raises TokenError, KeysAwayError.
    """
    payload = await _verified(token, settings.OIDC_RP_CLIENT_ID, _REQUIRED)
    if payload.get("typ") != "ID":
        raise TokenError("This is no ID token: its `typ` must be ID")
    if payload.get("azp", settings.OIDC_RP_CLIENT_ID) != settings.OIDC_RP_CLIENT_ID:
        raise TokenError("This ID token was made for another client (`azp`)")
    if not nonce or payload.get("nonce") != nonce:
        raise TokenError("This ID token belongs to another sign-in (`nonce`)")
    return payload


async def logout(token: str) -> Payload:
    """The payload of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6).

    Raises TokenError, KeysAwayError.
    """
    payload = await _verified(token, settings.OIDC_RP_CLIENT_ID, _LOGOUT_REQUIRED)
    events = payload["events"]
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT), dict):
        raise TokenError("This is no logout token: its `events` name no logout")
    if "nonce" in payload:
        raise TokenError("A logout token must not have a `nonce`")
    if not payload.get("sid") and not payload.get("sub"):
        raise TokenError("A logout token must name a session (`sid`) or a person (`sub`)")
    return payload


async def is_issuer_there(issuer: str) -> bool:
    """Whether the issuer answered when it was asked last, which is half a minute ago at most."""
    return await _published(issuer).renew()


async def _verified(token: str, audience: str, required: list[str]) -> Payload:
    issuer, kid = _named(token)
    key = await _published(issuer).find(kid)
    if key is None:
        raise TokenError("This token is signed with a key that its issuer does not publish (`kid`)")
    try:
        payload: Payload = jwt.decode(
            token,
            key.key,
            algorithms=[jwks.ALGORITHM],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": required, "verify_sub": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise OverError("This token has expired; get a new one") from error
    except jwt.InvalidTokenError as error:
        raise TokenError(f"This token is not accepted: {_reason(error)}") from error
    _check_times(payload)
    _check_texts(payload)
    return payload


def _named(token: str) -> tuple[str, str]:
    """Which issuer and which of its keys the token claims to be of. Nothing is proven by it."""
    if len(token) > MOST_CHARS:
        raise TokenError(f"This token is longer than {MOST_CHARS} characters")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise TokenError(
            "This is no token that can be read; check that it was copied whole"
        ) from error
    header, payload = parts["header"], parts["payload"]
    if header.get("alg") != jwks.ALGORITHM:
        raise TokenError(f"This token must be signed by {jwks.ALGORITHM} (`alg`)")
    issuer, kid = payload.get("iss"), header.get("kid")
    if not isinstance(issuer, str) or issuer not in _issuers():
        raise TokenError("This token is of an issuer that this gateway does not know (`iss`)")
    if not isinstance(kid, str):
        raise TokenError("This token does not say which key it is signed with (`kid`)")
    return issuer, kid


def _issuers() -> Mapping[str, str]:
    """Where the keys of each issuer lie."""
    found: Mapping[str, str] = settings.OIDC_ISSUERS
    return found


def _published(issuer: str) -> PublishedKeys:
    url = _issuers()[issuer]
    if url not in _keys:
        _keys[url] = PublishedKeys(url)
    return _keys[url]


def _check_times(payload: Payload) -> None:
    """PyJWT takes a life of a thousand years, and times that are texts or fractions."""
    times = [payload[name] for name in ("iat", "exp") if name in payload]
    if not all(type(moment) is int for moment in times):
        raise TokenError("The times of this token (`iat`, `exp`) must be whole seconds")
    if len(times) == 2 and times[1] - times[0] > MOST_LIFE_S:
        raise TokenError(f"This token lives for more than {MOST_LIFE_S // 3600} hours (`exp`)")


def _check_texts(payload: Payload) -> None:
    for name in ("sub", "sid", "azp"):
        value = payload.get(name, "")
        if not isinstance(value, str) or not _can_be_stored(value) or len(value) > 255:
            raise TokenError(f"The `{name}` of this token is no text of at most 255 characters")


def _can_be_stored(text: str) -> bool:
    """No NUL and no half of a surrogate pair: no database holds these."""
    return "\0" not in text and text == text.encode(errors="replace").decode()


def _reason(error: jwt.InvalidTokenError) -> str:
    """What is wrong, in the names of the claims. PyJWT's own texts may quote the token."""
    names = {
        jwt.InvalidSignatureError: "its signature is wrong",
        jwt.InvalidAudienceError: "it is not meant for this gateway (`aud`)",
        jwt.ImmatureSignatureError: "it is not valid yet (`nbf`, `iat`)",
        jwt.InvalidIssuedAtError: "its `iat` is no time",
        jwt.InvalidIssuerError: "its issuer is another (`iss`)",
    }
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks `{error.claim}`"
    return names.get(type(error), "it cannot be read")
