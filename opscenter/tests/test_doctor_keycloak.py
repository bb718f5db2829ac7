"""The doctor's line on Keycloak, with one that is well and one that does not know us."""

from pytest_django import Settings

from opscenter.doctor import neighbours
from opscenter.doctor.finding import Verdict
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak


def test_it_is_content_with_keys_and_a_secret_that_is_taken(keycloak: Keycloak) -> None:
    found = neighbours.keycloak()
    assert (found.verdict, found.text) == (
        Verdict.OK,
        "It gives its keys, and takes our client's secret.",
    )


def test_it_says_that_nobody_can_sign_in_with_a_wrong_secret(
    keycloak: Keycloak, settings: Settings
) -> None:
    settings.OIDC_RP_CLIENT_SECRET = "w" + keycloak.secret
    found = neighbours.keycloak()
    assert found.verdict is Verdict.FAILS
    assert "nobody can sign in" in found.text
    assert keycloak.secret not in f"{found}"
