"""Whether a webhook is Lago's: its signature over the raw body."""

import base64
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Mapping

import jwt
from django.conf import settings

from billing import lago

log = logging.getLogger(__name__)

KEY_TTL_S = 3600.0  # Lago changes its key with an installation, not with the hour
REFETCH_S = 30.0  # so that made-up signatures make us ask Lago no more often than this
PATIENCE_S = 3.0  # pages wait for each other, and this one for Lago
ALGORITHM = "RS256"  # whatever a token says of itself


class BadSignatureError(Exception):
    """It is not Lago's, or nobody can say that it is."""


class NoKeyError(Exception):
    """Lago's public key cannot be had now, so that nobody knows. It may come again later."""


def verify(headers: Mapping[str, str], body: bytes) -> None:
    """Raises BadSignatureError, NoKeyError."""
    signature = headers.get("X-Lago-Signature", "")
    algorithm = headers.get("X-Lago-Signature-Algorithm", "").strip().lower()
    if not signature:
        raise BadSignatureError("the webhook is not signed")
    if algorithm == "hmac":
        _verify_hmac(signature, body)
    elif algorithm == "jwt":
        _verify_jwt(signature, body)
    else:
        raise BadSignatureError("the signature's algorithm is neither hmac nor jwt")


def _verify_hmac(signature: str, body: bytes) -> None:
    secret = settings.LAGO_WEBHOOK_SECRET
    if not secret:
        raise BadSignatureError("LAGO_WEBHOOK_SECRET is not set, so no hmac is taken")
    right = base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256))
    if not hmac.compare_digest(right, signature.strip().encode(errors="replace")):
        raise BadSignatureError("the hmac is wrong")


def _verify_jwt(token: str, body: bytes) -> None:
    if not lago.is_configured():
        raise BadSignatureError("LAGO_API_URL and LAGO_API_KEY are not set, so no jwt is taken")
    key = _keys.get()
    try:
        claims = _claims(token, key)
    except jwt.PyJWTError:
        # The key may be a new one.
        fresh = _keys.refetched(key)
        if fresh is None:
            raise BadSignatureError("the jwt is wrong") from None
        try:
            claims = _claims(token, fresh)
        except jwt.PyJWTError as error:
            raise BadSignatureError("the jwt is wrong") from error
    data = claims.get("data")
    if not isinstance(data, str) or not hmac.compare_digest(data.encode(errors="replace"), body):
        raise BadSignatureError("the jwt is of another body")


def _claims(token: str, key: bytes) -> Mapping[str, object]:
    try:
        found: Mapping[str, object] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=settings.LAGO_API_URL,
            options={"require": ["iss", "data"], "verify_aud": False},
        )
    except ValueError as error:  # a key that is none
        raise jwt.InvalidKeyError("Lago's public key cannot be read") from error
    return found


class _Keys:
    """Lago's public key in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while Lago is asked: the others want the same
        self.forget()

    def forget(self) -> None:
        self._url = ""
        self._key: bytes | None = None
        self._asked_at = float("-inf")

    def get(self) -> bytes:
        """The key. Raises NoKeyError."""
        with self._lock:
            if self._url != settings.LAGO_API_URL:
                self.forget()
            age = time.monotonic() - self._asked_at
            if self._key is None or age > KEY_TTL_S:
                self._ask()
            if self._key is None:
                raise NoKeyError("Lago's public key is not to be had")
            return self._key

    def refetched(self, old: bytes) -> bytes | None:
        """Another key than `old`; None where there is none, or Lago was asked a moment ago."""
        with self._lock:
            if self._key == old:
                self._ask()
            return self._key if self._key != old else None

    def _ask(self) -> None:
        """Ask Lago, at most once in REFETCH_S. A key that is there stays when Lago is away."""
        if time.monotonic() - self._asked_at < REFETCH_S:
            return
        self._asked_at, self._url = time.monotonic(), settings.LAGO_API_URL
        try:
            with lago.Client(patience_s=PATIENCE_S) as client:
                self._key = client.public_key()
        except lago.LagoError as error:
            log.warning("Lago's public key cannot be had, so no webhook is judged: %s", error)


_keys = _Keys()


def forget() -> None:
    """Ask for the key anew."""
    _keys.forget()
