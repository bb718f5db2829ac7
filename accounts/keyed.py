"""Hashes that nobody can make who has the database alone."""

import hmac
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def keyed(purpose: str, text: str) -> str:
    """HMAC-SHA256 of `text` under a key of its own for each purpose, in hex."""
    return hmac.digest(_key(settings.KEY_PEPPER, purpose), text.encode(), "sha256").hex()


@lru_cache(maxsize=8)
def _key(pepper: str, purpose: str) -> bytes:
    info = f"opscenter {purpose}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(pepper.encode())
