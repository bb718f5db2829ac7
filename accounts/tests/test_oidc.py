"""Signing in at Keycloak, with everything that may be wrong about it."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, Identity, Membership, Organization
from accounts.tests.at_keycloak import BEGIN, asked, back, refused, signed_in, to_keycloak, who
from accounts.tests.people import Person
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

CALLBACK = "/oidc/callback/"

pytestmark = pytest.mark.django_db


def test_it_signs_in_whom_keycloak_knows(client: Client, keycloak: Keycloak) -> None:
    keycloak.person |= {"email": "ada@example.org", "given_name": "Ada", "family_name": "L."}
    response = signed_in(client)
    assert (response.status_code, response.headers["location"]) == (302, "/approvals/")
    user = User.objects.get()
    assert (user.username, user.email, user.first_name) == ("ada", "ada@example.org", "Ada")
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (False, False, False)
    identity = Identity.objects.get()
    assert (identity.issuer, identity.subject) == (keycloak.issuer, "s-1")
    assert who(client) == "ada"


def test_it_knows_people_again_by_their_subject_alone(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    keycloak.person = {"sub": "s-1", "preferred_username": "ada-the-second", "email": "new@x.org"}
    signed_in(Client())
    assert (User.objects.count(), User.objects.get().email) == (1, "new@x.org")
    keycloak.person = {"sub": "s-2", "preferred_username": "ada", "email": "new@x.org"}
    other = Client()
    signed_in(other)
    assert User.objects.count() == 2
    assert who(other).startswith("ada~")


def test_it_gives_nobody_an_account_that_is_there_already(
    client: Client, keycloak: Keycloak, alice: Person
) -> None:
    alice.user.email, alice.user.is_superuser = "alice@acme.org", True
    alice.user.save()
    keycloak.person = {"sub": "x", "preferred_username": "alice", "email": "alice@acme.org"}
    signed_in(client)
    assert who(client).startswith("alice~")
    assert not User.objects.get(identities__subject="x").is_superuser


def test_staff_is_whom_the_roles_of_our_client_name(client: Client, keycloak: Keycloak) -> None:
    Group.objects.get_or_create(name="operator")
    keycloak.access_more = {
        "resource_access": {
            "ops-center": {"roles": ["staff", "operator", "superuser"]},
            "other": {"roles": ["owner"]},
        },
        "realm_access": {"roles": ["owner"]},
    }
    signed_in(client)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser) == (True, False)
    assert [group.name for group in user.groups.all()] == ["operator"]
    keycloak.access_more = {}
    signed_in(client)
    user.refresh_from_db()
    assert (user.is_staff, user.groups.count()) == (False, 0)
    told = AuditEntry.objects.filter(action="user.granted").order_by("id")
    assert [line.details["changed"]["is_staff"] for line in told] == [[False, True], [True, False]]


def test_a_superuser_needs_a_role_that_the_operator_named(
    client: Client, keycloak: Keycloak, settings: Settings
) -> None:
    keycloak.access_more = {"resource_access": {"ops-center": {"roles": ["root"]}}}
    settings.OIDC_SUPERUSER_ROLE = "root"
    signed_in(client)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser) == (True, True)


def test_people_belong_where_their_token_says(client: Client, keycloak: Keycloak) -> None:
    keycloak.person |= {"organization": ["acme", "beta"]}
    signed_in(client)
    names = Membership.objects.values_list("organization__name", "role", "by_claims")
    assert set(names) == {("acme", "member", True), ("beta", "member", True)}
    keycloak.person |= {"organization": "beta"}
    signed_in(client)
    assert Membership.objects.get().organization.external_id == "beta"
    assert Organization.objects.count() == 2


def test_a_place_given_by_hand_stays(client: Client, keycloak: Keycloak, alice: Person) -> None:
    signed_in(client)
    user = User.objects.get(username="ada")
    Membership.objects.create(organization=alice.organization, user=user, role="owner")
    keycloak.person |= {"organization": "beta", "organization_role": "owner"}
    signed_in(client)
    roles = user.memberships.values_list("organization__name", "role")
    assert set(roles) == {("Acme", "owner"), ("beta", "member")}  # no claim is mapped to roles


def test_an_organization_of_that_name_here_is_another(
    client: Client, keycloak: Keycloak, alice: Person
) -> None:
    keycloak.person |= {"organization": "Acme"}
    signed_in(client)
    user = User.objects.get(username="ada")
    assert user.memberships.get().organization != alice.organization


def test_whose_token_names_none_joins_the_default(
    client: Client, keycloak: Keycloak, settings: Settings, alice: Person
) -> None:
    settings.OIDC_DEFAULT_ORGANIZATION = "Acme"
    signed_in(client)
    user = User.objects.get(username="ada")
    assert user.memberships.get().organization == alice.organization


def test_another_address_of_ours_is_left_first(client: Client, keycloak: Keycloak) -> None:
    response = client.get(BEGIN, headers={"host": "localhost"})
    assert response.headers["location"] == f"http://testserver{BEGIN}"


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "javascript:1"])
def test_it_sends_nobody_to_a_strangers_page(
    client: Client, keycloak: Keycloak, wanted: str
) -> None:
    assert signed_in(client, wanted).headers["location"] == "/admin/"


def test_a_state_of_another_browser_is_refused(client: Client, keycloak: Keycloak) -> None:
    at = to_keycloak(Client())
    to_keycloak(client)
    refused(back(client, at), 400, "not begun in this browser")
    assert (who(client), User.objects.count()) == ("", 0)


def test_a_code_works_once(client: Client, keycloak: Keycloak) -> None:
    location = httpx.get(to_keycloak(client), trust_env=False).headers["location"]
    path = f"{CALLBACK}?{urlsplit(location).query}"
    assert client.get(path).status_code == 302
    refused(client.get(path), 400, "used already")
    other = Client()
    state = asked(to_keycloak(other))["state"]
    replayed = other.get(CALLBACK, {"state": state, "code": asked(location)["code"]})
    refused(replayed, 400, "could not be trusted")
    assert who(other) == ""


def test_nobody_is_signed_out_by_a_link(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    refused(client.get(CALLBACK, {"error": "x", "state": "made-up"}), 400, "Begin it again")
    assert who(client) == "ada"


@pytest.mark.parametrize(
    ("which", "more"),
    [
        ("identity_more", {"nonce": "another"}),
        ("identity_more", {"aud": "other-client"}),
        ("identity_more", {"azp": "other-client", "aud": ["ops-center", "other-client"]}),
        ("identity_more", {"typ": "Bearer"}),
        ("identity_more", {"iss": "https://evil.example"}),
        ("identity_more", {"exp": 1}),
        ("access_more", {"typ": "ID"}),
        ("access_more", {"aud": "account"}),
        ("access_more", {"azp": "other-client"}),
        ("access_more", {"sub": "somebody-else"}),
    ],
)
def test_tokens_that_do_not_fit_sign_nobody_in(
    client: Client, keycloak: Keycloak, which: str, more: dict[str, Any]
) -> None:
    setattr(keycloak, which, more)
    refused(signed_in(client), 400, "could not be trusted")
    assert (who(client), User.objects.count()) == ("", 0)


def test_keycloak_may_be_away(client: Client, keycloak: Keycloak) -> None:
    location = httpx.get(to_keycloak(client), trust_env=False).headers["location"]
    keycloak.stop()
    response = client.get(f"{CALLBACK}?{urlsplit(location).query}")
    refused(response, 503, "Keycloak does not answer")


def test_who_is_deactivated_here_stays_out(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    User.objects.update(is_active=False)
    other = Client()
    refused(signed_in(other), 403, "deactivated")
    assert who(other) == ""


def test_a_long_or_ugly_name_is_only_a_name(client: Client, keycloak: Keycloak) -> None:
    keycloak.person = {
        "sub": "s-9",
        "preferred_username": "<script>alert(1)</script>" * 400,
        "given_name": "\0\ud800<b>",
        "email": "e" * 10_000,
        "organization": ["<i>" + "o" * 10_000, 7, None, {"a": 1}],
    }
    signed_in(client)
    user = User.objects.get()
    assert (len(user.username), len(user.email), user.first_name) == (150, 254, "?<b>")
    assert b"<script>alert" not in client.get("/approvals/").content
    assert Organization.objects.count() == 0


def test_the_pages_offer_both_ways(client: Client, settings: Settings) -> None:
    for page in ("/sign-in/", "/admin/login/"):
        shown = client.get(page, {"next": "/admin/billing/"}).content.decode()
        assert f"{BEGIN}?next=%2Fadmin%2Fbilling%2F" in shown
        assert 'name="password"' in shown
    settings.OIDC_ISSUER = ""
    for page in ("/sign-in/", "/admin/login/"):
        assert BEGIN not in client.get(page).content.decode()


def test_a_form_here_may_lead_on_to_keycloak(client: Client) -> None:
    # As a sign-out does. Browsers hold where a form is led on to to this policy as well.
    policy = client.get("/sign-in/")["Content-Security-Policy"]
    assert "form-action 'self' http://127.0.0.1:9;" in policy
