"""Sessions at Keycloak and here: renewed, ended here, ended there."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from accounts import jwt
from accounts.models import Identity, OidcSession
from accounts.signin import SESSION_MOST
from accounts.tests.at_keycloak import asked, back, refused, signed_in, who
from accounts.tests.people import Person
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

pytestmark = pytest.mark.django_db


def test_a_session_is_renewed_unseen(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    session = client.session
    session["oidc_id_token_expiration"] = time.time() - 1
    session.save()
    away = client.get("/approvals/")
    assert asked(away.headers["location"])["prompt"] == "none"
    assert back(client, away.headers["location"]).headers["location"] == "/approvals/"
    assert client.get("/approvals/").status_code == 200
    assert client.session.session_key == session.session_key


def test_a_session_that_ended_there_ends_here(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    session = client.session
    session["oidc_id_token_expiration"] = time.time() - 1
    session.save()
    at = client.get("/approvals/").headers["location"]
    keycloak.says = "login_required"
    refused(back(client, at), 401, "has ended")
    assert who(client) == ""


def test_a_session_outlives_keycloaks_absence(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    keycloak.stop()
    jwt._keys.clear()
    session = client.session
    session["oidc_id_token_expiration"] = time.time() - 1
    session.save()
    assert client.get("/approvals/").status_code == 200
    assert who(client) == "ada"


def test_a_script_is_not_sent_to_keycloak(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    session = client.session
    session["oidc_id_token_expiration"] = time.time() - 1
    session.save()
    assert client.get("/approvals/?part").status_code == 200
    assert client.get("/approvals/", headers={"sec-fetch-mode": "cors"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {"sec-fetch-mode": "cors"}), ("GET", {"hx-request": "true"}), ("POST", {})],
)
def test_nobody_goes_on_for_ever_by_what_cannot_be_renewed(
    client: Client, keycloak: Keycloak, method: str, headers: dict[str, str]
) -> None:
    signed_in(client)
    session = client.session
    session["oidc_id_token_expiration"] = 0
    session.save()
    refused = client.generic(method, "/approvals/", headers=headers)
    assert (refused.status_code, "load the page again" in refused.content.decode()) == (401, True)
    assert client.post("/sign-out/").status_code == 302


def test_who_is_deactivated_is_signed_out_at_once(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    User.objects.update(is_active=False)
    assert client.get("/approvals/").status_code == 302


def test_a_password_set_here_opens_nothing(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    user = User.objects.get()
    user.set_password("correct horse battery")
    user.save()
    signed_in(client)
    user.refresh_from_db()
    assert not user.has_usable_password()


def test_a_form_with_a_code_is_only_a_form(client: Client, keycloak: Keycloak) -> None:
    form = {"username": "x", "password": "y"}
    for page in ("/sign-in/", "/admin/login/"):
        assert client.post(f"{page}?code=c&state=s", form).status_code == 200


def test_all_sessions_ended_while_one_begins(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    Identity.objects.update(ended_at=timezone.now() + timedelta(seconds=5))
    refused(signed_in(Client()), 401, "has ended")


def test_who_signs_out_here_signs_out_there(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    token = client.session["oidc_id_token"]
    response = client.post("/sign-out/")
    location = response.headers["location"]
    assert location.startswith(f"{keycloak.url}/realms/opscenter/protocol/openid-connect/logout?")
    assert asked(location) == {
        "id_token_hint": token,
        "client_id": "ops-center",
        "post_logout_redirect_uri": "http://testserver/",
    }
    assert who(client) == ""


def test_who_has_an_account_here_signs_out_here(client: Client, alice: Person) -> None:
    client.force_login(alice.user, "django.contrib.auth.backends.ModelBackend")
    assert client.post("/sign-out/").headers["location"] == "/sign-in/"
    assert client.get("/sign-out/").status_code == 405


def tell(client: Client, token: str) -> Any:
    return client.post("/oidc/backchannel-logout/", {"logout_token": token})


def test_keycloak_ends_a_session_here(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    other = Client()
    keycloak.sid = "sid-2"
    signed_in(other)
    keycloak.sid = "sid-1"
    assert tell(Client(enforce_csrf_checks=True), keycloak.logout()).status_code == 200
    assert (who(client), who(other)) == ("", "ada")
    assert tell(client, keycloak.logout(sid=None)).status_code == 200
    assert who(other) == ""
    assert OidcSession.objects.filter(ended_at__isnull=True).count() == 0


def test_a_session_that_was_ended_is_not_begun(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    tell(client, keycloak.logout())
    refused(signed_in(Client()), 401, "has ended")


@pytest.mark.parametrize(
    "more",
    [
        {"events": {}},
        {"events": "x"},
        {"events": None},
        {"nonce": "n"},
        {"sub": None, "sid": None},
        {"aud": "account"},
        {"iss": "https://evil.example"},
        {"jti": None},
        {"sid": ["sid-1"]},
    ],
)
def test_what_is_no_logout_token_ends_nothing(
    client: Client, keycloak: Keycloak, more: dict[str, Any]
) -> None:
    signed_in(client)
    response = tell(client, keycloak.logout(**more))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert who(client) == "ada"


def test_no_other_token_ends_a_session(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    for token in (keycloak.access(), keycloak.identity("n"), "", "x", "a.b.c"):
        assert tell(client, token).status_code == 400
    assert who(client) == "ada"


def test_a_session_ends_in_time_however_often_it_is_renewed(
    client: Client, keycloak: Keycloak
) -> None:
    signed_in(client)
    ends = client.session.get_expiry_date()
    assert timedelta(hours=7) < ends - timezone.now() <= SESSION_MOST
    session = client.session
    session["oidc_id_token_expiration"] = time.time() - 1
    session.save()
    back(client, client.get("/approvals/").headers["location"])
    assert client.session.get_expiry_date() == ends


@pytest.mark.parametrize("page", ["/sign-in/", "/admin/login/"])
def test_a_session_of_an_account_here_ends_in_time_too(client: Client, page: str) -> None:
    User.objects.create_superuser("root", password="correct horse battery")
    client.post(page, {"username": "root", "password": "correct horse battery"})
    ends = client.session.get_expiry_date()
    assert timedelta(hours=7) < ends - timezone.now() <= SESSION_MOST
    assert client.get("/approvals/").status_code == 200
    assert client.session.get_expiry_date() == ends
