"""A browser that goes to Keycloak and comes back."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from django.contrib.auth.models import User
from django.test import Client

BEGIN = "/oidc/authenticate/"


def asked(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def to_keycloak(client: Client, wanted: str = "/approvals/") -> str:
    """Where a browser is sent to sign in."""
    response = client.get(BEGIN, {"next": wanted})
    assert response.status_code == 302
    return response.headers["location"]


def back(client: Client, at: str) -> Any:
    """What follows once the person has signed in there."""
    location = httpx.get(at, trust_env=False).headers["location"]
    return client.get(f"{urlsplit(location).path}?{urlsplit(location).query}")


def signed_in(client: Client, wanted: str = "/approvals/") -> Any:
    return back(client, to_keycloak(client, wanted))


def who(client: Client) -> str:
    """The name of whoever is signed in, or nothing."""
    user_id = client.session.get("_auth_user_id")
    return User.objects.get(pk=user_id).username if user_id else ""


def refused(response: Any, status: int, words: str) -> None:
    assert response.status_code == status
    assert words in response.content.decode()
    assert "no-store" in response.headers["cache-control"]
