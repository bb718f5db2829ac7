"""Secrets that must be read again, such as an upstream's credential: encrypted where they lie."""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class SealedError(Exception):
    """It cannot be encrypted, or decrypted. The text says what the operator can do."""


def seal(secret: str) -> str:
    """`secret` encrypted under the newest key. Raises SealedError where no key is set."""
    return _keys().encrypt(secret.encode()).decode()


def opened(token: str) -> str:
    """What was sealed, under whichever key that is still set. Raises SealedError."""
    try:
        return _keys().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise SealedError(
            "It cannot be decrypted: no key in OPSCENTER_ENCRYPTION_KEYS fits. "
            "Add the key it was stored under, or store it anew."
        ) from error


def resealed(token: str) -> str:
    """The same secret under the newest key. Raises SealedError."""
    return seal(opened(token))


def _keys() -> MultiFernet:
    if not settings.ENCRYPTION_KEYS:
        raise SealedError(
            "OPSCENTER_ENCRYPTION_KEYS is not set, so no credential can be stored or read. "
            "Put a line with it into .env, with the output of `openssl rand -hex 32`, "
            "and start the server again."
        )
    return _fernet(tuple(settings.ENCRYPTION_KEYS))


@lru_cache(maxsize=4)
def _fernet(secrets: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(secret)) for secret in secrets])


def _derived(secret: str) -> bytes:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"opscenter sealed 1")
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))


def fingerprint(secret: str) -> str:
    """What may be shown of a secret to tell it from another: eight hex digits of its hash."""
    return hashlib.sha256(b"opscenter fingerprint" + secret.encode()).hexdigest()[:8]
