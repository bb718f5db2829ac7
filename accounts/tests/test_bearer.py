"""Keycloak's access tokens as credentials, and everything that is none."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt as pyjwt
import pytest
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from django.contrib.auth.models import User
from pytest_django import Settings

from accounts import auth, jwks, jwt
from accounts.models import Identity, Membership, Organization
from accounts.principal import OF_PROGRAMS
from accounts.tests.bearing import at_work, owner, refused
from tests import keycloak as stand_in
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

__all__ = ["at_work"]

pytestmark = pytest.mark.django_db(transaction=True)


def in_table(model: Any) -> Any:
    return sync_to_async(model.objects.get)()


async def test_it_opens_for_whom_keycloak_signed_it(keycloak: Keycloak) -> None:
    principal = await owner(keycloak.access())
    user, place = await in_table(User), await in_table(Membership)
    assert (principal.user_id, principal.organization_id) == (user.pk, place.organization_id)
    assert principal.scopes == frozenset(OF_PROGRAMS)
    assert principal.key_id == (await in_table(Identity)).pk
    assert (principal.subject, user.is_staff) == (f"user:{user.pk}", False)


async def test_a_helper_shows_it_in_both_headers(keycloak: Keycloak) -> None:
    token = keycloak.access()
    assert await auth.identify(f"Bearer {token}", token) == await owner(token)


async def test_roles_in_it_make_nobody_staff(keycloak: Keycloak) -> None:
    await owner(keycloak.access(["staff"]))
    assert not (await in_table(User)).is_staff


async def test_it_acts_where_it_names_first(keycloak: Keycloak) -> None:
    keycloak.person["organization"] = ["acme", "beta"]
    await owner(keycloak.access())
    beta = await Organization.objects.aget(external_id="beta")
    principal = await owner(keycloak.access(organization=["beta", "acme"]))
    assert principal.organization_id == beta.pk


def issued(seconds: int) -> dict[str, Any]:
    """The times of a token that is issued so many seconds from now."""
    now = int(time.time()) + seconds
    return {"iat": now, "exp": now + 300}


async def test_it_goes_where_the_newest_token_goes(keycloak: Keycloak) -> None:
    old = keycloak.access(**issued(-60))
    acme = (await owner(old)).organization_id
    beta = (await owner(keycloak.access(organization="beta"))).organization_id
    assert beta != acme
    text = await refused(old, auth.ClosedError)  # it lives on, and undoes nothing
    assert "belongs to no organization" in text
    names = Membership.objects.values_list("organization__external_id", flat=True)
    assert [name async for name in names] == ["beta"]
    await refused(keycloak.access(organization=None), auth.ClosedError)


async def test_who_belongs_nowhere_hears_so(keycloak: Keycloak) -> None:
    text = await refused(keycloak.access(organization=None), auth.ClosedError)
    assert "belongs to no organization" in text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"aud": "account"}, "`aud`"),
    ({"aud": None}, "`aud`"),
    ({"aud": ["evil", "other"]}, "`aud`"),
    ({"iss": "https://evil.example"}, "`iss`"),
    ({"iss": None}, "`iss`"),
    ({"iss": ["x"]}, "`iss`"),
    ({"azp": "evil"}, "`azp`"),
    ({"azp": None}, "`azp`"),
    ({"typ": "ID"}, "`typ`"),
    ({"typ": "Refresh"}, "`typ`"),
    ({"typ": None}, "`typ`"),
    ({"sub": None}, "`sub`"),
    ({"sub": 7}, "`sub`"),
    ({"sub": "s" * 256}, "`sub`"),
    ({"sub": "s\0"}, "`sub`"),
    ({"sid": {"a": 1}}, "`sid`"),
    ({"exp": None}, "`exp`"),
    ({"exp": "9999999999"}, "`exp`"),
    ({"exp": 1e300}, "`exp`"),
    ({"exp": 4_000_000_000}, "24 hours"),
    ({"iat": None}, "`iat`"),
    ({"iat": "now"}, "`iat`"),
    ({"iat": 4_000_000_000}, "not valid yet"),
    ({"nbf": 4_000_000_000}, "not valid yet"),
]


@pytest.mark.parametrize(("more", "words"), WRONG, ids=lambda it: str(it)[:40])
async def test_what_is_not_meant_for_us_opens_nothing(
    keycloak: Keycloak, more: dict[str, Any], words: str
) -> None:
    assert words in await refused(keycloak.access(**more))


async def test_an_expired_one_says_so(keycloak: Keycloak) -> None:
    now = int(time.time())
    text = await refused(keycloak.access(iat=now - 400, exp=now - 100), auth.ClosedError)
    assert "expired" in text


def forged(token: str, algorithm: str, sign: Callable[[bytes], bytes]) -> str:
    """The payload of `token` under another signature."""
    _, payload, _ = token.split(".")
    head = json.dumps({"alg": algorithm, "typ": "JWT", "kid": "kid-0"}).encode()
    sent = f"{base64.urlsafe_b64encode(head).rstrip(b'=').decode()}.{payload}"
    return f"{sent}.{base64.urlsafe_b64encode(sign(sent.encode())).rstrip(b'=').decode()}"


async def test_no_algorithm_but_ours_is_believed(keycloak: Keycloak) -> None:
    public = stand_in.key(0).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    token = keycloak.access()
    for algorithm, sign in (
        ("none", lambda _: b""),
        ("HS256", lambda sent: hmac.digest(pem, sent, "sha256")),
        ("RS512", lambda sent: by(0, sent, hashes.SHA512())),
    ):
        assert "`alg`" in await refused(forged(token, algorithm, sign))
    await owner(forged(token, "RS256", lambda sent: by(0, sent, hashes.SHA256())))


def by(number: int, sent: bytes, digest: hashes.HashAlgorithm) -> bytes:
    return stand_in.key(number).sign(sent, padding.PKCS1v15(), digest)


async def test_another_signature_is_refused(keycloak: Keycloak) -> None:
    token = keycloak.access()
    other = forged(token, "RS256", lambda sent: by(5, sent, hashes.SHA256()))
    assert "signature" in await refused(other)
    head, payload, signature = token.split(".")
    more = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sub": "somebody-else"}
    changed = base64.urlsafe_b64encode(json.dumps(more).encode()).rstrip(b"=").decode()
    assert "signature" in await refused(f"{head}.{changed}.{signature}")


@pytest.mark.parametrize(
    "header",
    [{"kid": "for-encryption"}, {"kid": "for-encryption-too"}, {"kid": "made-up"}, {"kid": None}],
)
async def test_only_keys_for_signatures_count(keycloak: Keycloak, header: dict[str, Any]) -> None:
    claims = pyjwt.decode(keycloak.access(), options={"verify_signature": False})
    assert "`kid`" in await refused(keycloak.sign(claims, **header))


async def test_where_it_says_its_key_lies_is_not_looked_at(keycloak: Keycloak) -> None:
    claims = pyjwt.decode(keycloak.access(), options={"verify_signature": False})
    token = keycloak.sign(claims, kid="elsewhere", jku=f"{keycloak.url}/evil", x5u="http://x")
    assert "`kid`" in await refused(token)
    assert "copied whole" in await refused(keycloak.sign(claims, crit=["b64"], b64=False))


@pytest.mark.parametrize(
    "text", ["eyJ.eyJ.x", "eyJ" + "a" * 8000, "eyJ" + "." * 4000, "eyJhbGciOiJub25lIn0..", "eyJ..é"]
)
async def test_what_only_looks_like_one_is_refused(text: str) -> None:
    with pytest.raises(auth.WrongError):
        await owner(text)


async def test_made_up_keys_are_asked_for_once(keycloak: Keycloak) -> None:
    claims = pyjwt.decode(keycloak.access(), options={"verify_signature": False})
    for _ in range(200):
        await refused(keycloak.sign(claims, kid=uuid4().hex))
    assert keycloak.keys_asked == 1


async def test_a_new_key_is_found_and_an_old_one_forgotten(
    keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keycloak.access()
    await owner(old)
    keycloak.keys = [0, 1]
    new = keycloak.access()
    assert "`kid`" in await refused(new)  # within EVERY_S of the last question
    monkeypatch.setattr(jwks, "EVERY_S", 0.0)  # else half a minute for each step
    await owner(new)
    await owner(old)
    keycloak.keys = [1]
    assert "`kid`" in await refused(old)
    await owner(new)


async def test_it_goes_on_while_keycloak_is_away(
    keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = keycloak.access()
    await owner(token)
    keycloak.stop()
    monkeypatch.setattr(jwks, "EVERY_S", 0.0)  # else half a minute for each step
    await owner(token)
    jwt._keys.clear()
    with pytest.raises(jwt.KeysAwayError, match="cannot reach Keycloak"):
        await owner(token)


async def test_without_keycloak_it_says_what_is_missing(
    keycloak: Keycloak, settings: Settings
) -> None:
    settings.OIDC_ISSUERS = {}
    assert "KEYCLOAK_URL" in await refused(keycloak.access())


async def test_many_first_tokens_at_once_make_one_user(keycloak: Keycloak) -> None:
    token = keycloak.access()
    found = await asyncio.gather(*(owner(token) for _ in range(20)))
    assert len(set(found)) == 1
    assert await User.objects.acount() == 1
