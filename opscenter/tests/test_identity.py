"""What the settings of Keycloak come to, and which of them stop the start."""

import pytest

from opscenter import env, identity
from opscenter.env import BadSettingError

URL = "https://gateway.example.com"
SECRET = "only-for-tests-" + "k" * 32
OUR_OWN = {"KEYCLOAK_URL": "http://keycloak:8080", "KEYCLOAK_CLIENT_SECRET": SECRET}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "_ENVIRONMENT", {})


def given(monkeypatch: pytest.MonkeyPatch, **more: str) -> dict[str, object]:
    monkeypatch.setattr(env, "_ENVIRONMENT", OUR_OWN | more)
    return identity.settings(URL)


def test_without_an_address_there_is_none_of_it() -> None:
    assert identity.settings(URL) == identity.NONE


def test_browsers_and_the_gateway_reach_it_by_addresses_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = given(monkeypatch, KEYCLOAK_EXTERNAL_URL="https://auth.example.com/")
    issuer = "https://auth.example.com/realms/opscenter"
    inside = "http://keycloak:8080/realms/opscenter/protocol/openid-connect"
    assert found["OIDC_ISSUER"] == issuer
    assert found["OIDC_ISSUERS"] == {issuer: f"{inside}/certs"}
    assert found["OIDC_OP_TOKEN_ENDPOINT"] == f"{inside}/token"
    authorize = f"{issuer}/protocol/openid-connect/auth"
    assert found["OIDC_OP_AUTHORIZATION_ENDPOINT"] == authorize
    assert found["OIDC_CALLBACK_URL"] == f"{URL}/oidc/callback/"
    assert found["OIDC_SUPERUSER_ROLE"] == ""


def test_tokens_of_others_are_taken_where_the_operator_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "https://other.example/realms/x"
    found = given(monkeypatch, KEYCLOAK_EXTRA_ISSUERS=f"{other}/", KEYCLOAK_TOKEN_CLIENTS="a, b")
    issuers = found["OIDC_ISSUERS"]
    assert isinstance(issuers, dict)
    assert issuers[other] == f"{other}/protocol/openid-connect/certs"
    assert found["OIDC_TOKEN_CLIENTS"] == ["a", "b"]


@pytest.mark.parametrize("flag", ["true", "false"])
def test_local_accounts_are_a_switch(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    found = given(monkeypatch, OPSCENTER_LOCAL_ACCOUNTS=flag)
    backends = found["AUTHENTICATION_BACKENDS"]
    assert isinstance(backends, list)
    assert (identity.LOCAL in backends) is (flag == "true")
    assert "opscenter.signing_in.KeycloakBackend" in backends


def test_nobody_could_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "_ENVIRONMENT", {"OPSCENTER_LOCAL_ACCOUNTS": "false"})
    with pytest.raises(BadSettingError, match="KEYCLOAK_URL"):
        identity.settings(URL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEYCLOAK_CLIENT_SECRET", ""),
        ("KEYCLOAK_CLIENT_SECRET", "changeme"),
        ("KEYCLOAK_URL", "keycloak:8080"),
        ("KEYCLOAK_EXTERNAL_URL", "ftp://x"),
    ],
)
def test_what_is_wrong_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(BadSettingError, match=name) as error:
        given(monkeypatch, **{name: value})
    assert "changeme" not in str(error.value)
