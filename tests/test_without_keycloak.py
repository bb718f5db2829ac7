"""A gateway without Keycloak: people sign in and out with its own accounts."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from accounts.tests.people import Person
from tests import gateway as gateways

PASSWORD = "correct horse battery staple"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture
def alone(transactional_db: None, tmp_path: Path) -> Iterator[httpx.Client]:
    """A browser at such a gateway."""
    log = tmp_path / "log"
    settings = {"KEYCLOAK_URL": "", "KEYCLOAK_CLIENT_SECRET": ""}
    with (
        gateways.running(log, **settings) as (url, _),
        httpx.Client(base_url=url, follow_redirects=True, timeout=30, trust_env=False) as browser,
    ):
        yield browser
    assert "Traceback" not in log.read_text()


def send(browser: httpx.Client, page: str, to: str = "", **filled: str) -> httpx.Response:
    """Fill in a form of the page."""
    shown = browser.get(page)
    token = TOKEN.search(shown.text)
    assert token, shown.text
    return browser.post(to or page, data=filled | {"csrfmiddlewaretoken": token[1]})


@pytest.mark.parametrize("way_out", ["/sign-out/", "/admin/logout/"])
def test_people_come_in_and_go(alone: httpx.Client, alice: Person, way_out: str) -> None:
    alice.user.is_staff = True
    alice.user.set_password(PASSWORD)
    alice.user.save()
    page = alone.get("/sign-in/").text
    assert "Keycloak" not in page
    home = send(alone, "/sign-in/", username="alice", password=PASSWORD)
    assert home.url.path == "/portal/"
    assert alone.get("/admin/").status_code == 200
    gone = send(alone, "/portal/", way_out)
    assert (gone.status_code, gone.url.path) == (200, "/sign-in/")
    assert alone.get("/portal/").url.path == "/sign-in/"


def test_tokens_are_told_what_is_missing(alone: httpx.Client) -> None:
    headers = {"authorization": f"Bearer eyJ{'a' * 300}.{'b' * 300}.{'c' * 300}"}
    refused = alone.post("/v1/messages", json={}, headers=headers)
    assert refused.status_code == 401
    assert "KEYCLOAK_URL is not set" in refused.json()["error"]["message"]
    for path in ("/oidc/authenticate/", "/oidc/callback/", "/oidc/backchannel-logout/"):
        assert alone.get(path).status_code == 404
    assert alone.get("/.well-known/oauth-protected-resource").status_code == 404
