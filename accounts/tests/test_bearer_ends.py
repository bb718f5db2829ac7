"""When a token opens nothing any more: its session, its person, its time."""

from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from accounts import auth, sessions, tokens
from accounts.models import Identity
from accounts.tests.bearing import at_work, owner, refused
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

__all__ = ["at_work"]

pytestmark = pytest.mark.django_db(transaction=True)


async def test_it_ends_with_its_session(
    keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens._people, "_ttl_s", 0.0)  # what the rows say, at once
    token, other = keycloak.access(), keycloak.access(sid="another")
    await owner(token)
    await owner(other)
    held = tokens.held(await tokens.claims_of(token))
    shown = auth.Shown(key_id="@", token=held)
    assert await auth.closed([shown]) == {}
    await sync_to_async(sessions.end)(keycloak.issuer, "s-1", "sid-1")
    assert "has ended" in await refused(token, auth.ClosedError)
    assert "has ended" in (await auth.closed([shown]))[shown]
    await owner(other)
    await sync_to_async(sessions.end)(keycloak.issuer, "s-1", "")
    assert "has ended" in await refused(other, auth.ClosedError)
    long_ago = timezone.now() - timedelta(minutes=1)
    await Identity.objects.aupdate(ended_at=long_ago)
    await owner(keycloak.access(sid="a-third"))


async def test_a_connection_ends_with_its_token(
    keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = keycloak.access()
    principal = await owner(token)
    shown = await auth.shown(principal, f"Bearer {token}", "")
    assert shown is not None and shown.token is not None
    assert await auth.closed([shown]) == {}
    over = auth.Shown(
        key_id=shown.key_id,
        token=tokens.Held(whose=shown.token.whose, issued_at=0, expires_at=1),
    )
    assert "come back" in (await auth.closed([over, shown]))[over]


async def test_it_ends_with_its_user(keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens._people, "_ttl_s", 0.0)  # what the rows say, at once
    token = keycloak.access()
    principal = await owner(token)
    place = principal.organization_id
    assert await auth.still_open(principal.key_id, place) == principal
    with pytest.raises(auth.ClosedError):
        await auth.still_open(principal.key_id, uuid4())
    await User.objects.aupdate(is_active=False, last_login=timezone.now())
    assert "deactivated" in await refused(token, auth.ClosedError)
    with pytest.raises(auth.ClosedError):
        await auth.still_open(principal.key_id, place)
    await User.objects.all().adelete()
    tokens._people._kept.clear()
    assert (await owner(token)).user_id != principal.user_id  # a person anew
