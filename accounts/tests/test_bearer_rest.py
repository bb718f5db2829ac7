"""Keycloak's access tokens at the REST pages."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts import jwt, tokens
from accounts.models import AuditEntry
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def at_work(keycloak: Keycloak) -> None:
    """Ada works at Acme, as her tokens say."""
    keycloak.person["organization"] = "acme"
    tokens._people._kept.clear()


def test_rest_takes_it_too(keycloak: Keycloak, client: Client) -> None:
    def asked(token: str) -> Any:
        return client.get("/api/v1/api-keys", headers={"authorization": f"Bearer {token}"})

    token = keycloak.access()
    assert asked(token).status_code == 200
    assert asked(keycloak.identity("n")).status_code == 401
    keycloak.stop()
    jwt._keys.clear()
    away = asked(token)
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "cannot reach Keycloak" in away.json()["detail"]


def test_an_api_key_that_it_makes_is_its_owners(keycloak: Keycloak, client: Client) -> None:
    headers = {"authorization": f"Bearer {keycloak.access()}"}
    body = {"name": "Claude Code Integration", "scopes": ["anthropic-proxy", "mcp-callback"]}
    made = client.post("/api/v1/api-keys", body, "application/json", headers=headers)
    assert made.status_code == 201
    line = AuditEntry.objects.get(action="key.created")
    assert line.actor == f"user:{User.objects.get().pk}"
