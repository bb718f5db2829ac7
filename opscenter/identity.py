"""Settings of the sign-in by Keycloak. Without KEYCLOAK_URL there is none of it."""

from typing import Any

from accounts import trust
from accounts.claims import Wanted
from opscenter import env
from opscenter.env import BadSettingError

IS_ON = bool(env.url("KEYCLOAK_URL"))
CALLBACK = "/oidc/callback/"
LOCAL = "django.contrib.auth.backends.ModelBackend"
RENEW_S = 15 * 60  # how often Keycloak is asked, unseen, whether the session is still good there
TIMEOUT_S = 5
# Without Keycloak: what the rest of the code reads all the same.
NONE: dict[str, Any] = {
    "AUTHENTICATION_BACKENDS": [LOCAL],
    "LOCAL_ACCOUNTS": True,
    "OIDC_ISSUER": "",
    "OIDC_ISSUERS": {},
    "LOGOUT_REDIRECT_URL": "/sign-in/",
}


def settings(external_url: str) -> dict[str, Any]:
    """What Django, mozilla-django-oidc and accounts/ read. Raises env.BadSettingError."""
    inside = env.url("KEYCLOAK_URL")
    is_local = env.flag("OPSCENTER_LOCAL_ACCOUNTS", True)
    if not inside:
        if not is_local:
            text = "OPSCENTER_LOCAL_ACCOUNTS may only be false where KEYCLOAK_URL is set"
            raise BadSettingError(f"{text}: nobody could sign in")
        return NONE
    realm = "/realms/" + env.text("KEYCLOAK_REALM", "opscenter")
    issuer = env.url("KEYCLOAK_EXTERNAL_URL", inside) + realm
    protocol = "/protocol/openid-connect"
    client_id = env.text("KEYCLOAK_CLIENT_ID", "ops-center")
    device_client = env.text("KEYCLOAK_DEVICE_CLIENT_ID", "ops-center-cli")
    others = [one.rstrip("/") for one in env.words("KEYCLOAK_EXTRA_ISSUERS", [])]
    backends = ["opscenter.signing_in.KeycloakBackend"]
    return {
        "AUTHENTICATION_BACKENDS": [LOCAL, *backends] if is_local else backends,
        "LOCAL_ACCOUNTS": is_local,
        "OIDC_ISSUER": issuer,
        "OIDC_ISSUERS": {issuer: f"{inside}{realm}{protocol}/certs"}
        | {other: f"{other}{protocol}/certs" for other in others},
        "OIDC_AUDIENCE": env.text("KEYCLOAK_AUDIENCE", client_id),
        "OIDC_DEVICE_CLIENT": device_client,
        "OIDC_TOKEN_CLIENTS": env.words("KEYCLOAK_TOKEN_CLIENTS", [client_id, device_client]),
        "OIDC_STAFF_ROLE": env.text("KEYCLOAK_STAFF_ROLE", "staff"),
        "OIDC_SUPERUSER_ROLE": env.text("KEYCLOAK_SUPERUSER_ROLE"),
        "OIDC_DEFAULT_ORGANIZATION": env.text("KEYCLOAK_DEFAULT_ORGANIZATION"),
        "OIDC_CLAIMS": Wanted(
            client_id=client_id,
            organization=env.text("KEYCLOAK_ORGANIZATION_CLAIM", "organization"),
            role=env.text("KEYCLOAK_ORGANIZATION_ROLE_CLAIM"),
            plan=env.text("KEYCLOAK_PLAN_CLAIM"),
        ),
        "OIDC_RP_CLIENT_ID": client_id,
        "OIDC_RP_CLIENT_SECRET": env.secret(
            "KEYCLOAK_CLIENT_SECRET", way_out="Keycloak shows the client's under Credentials"
        ),
        "OIDC_RP_SIGN_ALGO": "RS256",
        "OIDC_RP_SCOPES": "openid profile email",
        "OIDC_OP_AUTHORIZATION_ENDPOINT": f"{issuer}{protocol}/auth",
        "OIDC_OP_LOGOUT_ENDPOINT": f"{issuer}{protocol}/logout",
        "OIDC_OP_TOKEN_ENDPOINT": f"{inside}{realm}{protocol}/token",
        "OIDC_OP_USER_ENDPOINT": f"{inside}{realm}{protocol}/userinfo",
        "OIDC_OP_JWKS_ENDPOINT": f"{inside}{realm}{protocol}/certs",
        "OIDC_USE_PKCE": True,
        "OIDC_STORE_ID_TOKEN": True,  # Keycloak wants to see it at a logout
        "OIDC_TIMEOUT": TIMEOUT_S,
        "OIDC_VERIFY_SSL": trust.store(),
        "OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS": RENEW_S,
        "OIDC_OVERDUE_S": RENEW_S,  # beyond it also what cannot be renewed is refused
        "OIDC_CALLBACK_URL": f"{external_url}{CALLBACK}",
        # Not the address that a request names, which a proxy may have changed.
        "OIDC_AUTH_REQUEST_EXTRA_PARAMS": {"redirect_uri": f"{external_url}{CALLBACK}"},
        "OIDC_AUTHENTICATION_CALLBACK_URL": "oidc_authentication_callback",
        "OIDC_OP_LOGOUT_URL_METHOD": "accounts.oidc.logout_url",
        "LOGIN_REDIRECT_URL_FAILURE": "/sign-in/failed/",
        "LOGOUT_REDIRECT_URL": f"{external_url}/",
    }
