"""How the stand-in for Lago signs its webhooks."""

import base64
import hashlib
import hmac
from functools import cache

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The key of this process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key(key: rsa.RSAPrivateKey | None = None) -> str:
    """PEM in base64 with line ends, as Lago gives it."""
    public = (key or private_key()).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.encodebytes(pem).decode()


def by_jwt(body: bytes, issuer: str, key: rsa.RSAPrivateKey | None = None) -> str:
    """The X-Lago-Signature of a body, of the algorithm `jwt`."""
    claims = {"data": body.decode(), "iss": issuer}
    return jwt.encode(claims, key or private_key(), algorithm="RS256")


def by_hmac(body: bytes, secret: str) -> str:
    """The X-Lago-Signature of a body, of the algorithm `hmac`."""
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
