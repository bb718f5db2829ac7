"""`ops-connector login`, `token` and `logout`: a person's own sign-in instead of an API key."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from opscenter_connector import addresses, signedin
from opscenter_connector.asking import base
from opscenter_connector.config import Config
from opscenter_connector.endings import ExitCode
from opscenter_connector.mistakes import CredentialError
from opscenter_connector.plain import clean
from opscenter_connector.signedin import ANSWER_S, SignedIn, lasts_s

METADATA = "/.well-known/oauth-protected-resource"  # RFC 9728
DISCOVERY = "/.well-known/openid-configuration"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid profile email offline_access"  # the last: it outlives the browser's session
SLOWEST_S = 60.0
SLOWER_S = 5.0  # RFC 8628, section 3.5
LEAST_S = 1.0  # between two questions
MOST_S = 900.0  # a code that is good for longer is asked for anew

NO_SIGN_IN = (
    "this gateway has no sign-in for machines: its operator has not connected it with Keycloak. "
    "Use an API key with the scope mcp-callback"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where to sign in."""

    issuer: str
    client_id: str
    device_url: str
    token_url: str
    revocation_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a person types, or opens, and how long it is good for."""

    device_code: str
    user_code: str
    url: str
    whole_url: str  # with the code in it; empty where there is none
    every_s: float
    until_s: float  # by the monotonic clock


def login(config: Config, given: Mapping[str, Any]) -> int:
    """Show where to say yes, wait for it, and keep what comes of it."""
    settings = config.settings
    with _client(config) as client:
        provider = discover(client, base(settings))
        code = begin(client, provider)
        _show(code)
        answer = wait(client, provider, code, threading.Event().wait)
    with signedin.alone(settings.login):
        signedin.write(
            settings.login,
            SignedIn(
                api_url=settings.api_url,
                client_id=provider.client_id,
                token_url=provider.token_url,
                revocation_url=provider.revocation_url,
                refresh_token=signedin.token(answer, "refresh_token"),
                access_token=signedin.token(answer, "access_token"),
                expires_at=time.time() + lasts_s(answer),
            ),
        )
    sys.stderr.write("Signed in. The connector and `ops-connector token` use it from now on.\n")
    return ExitCode.STOPPED


def token(config: Config, given: Mapping[str, Any]) -> int:
    """Print an access token that is good for a minute at least: Claude Code's apiKeyHelper."""
    settings = config.settings
    found = signedin.Tokens(settings.login, settings.api_url, settings.ca_file).current()
    sys.stdout.write(f"{found}\n")
    return ExitCode.STOPPED


def logout(config: Config, given: Mapping[str, Any]) -> int:
    """Have Keycloak forget the sign-in, and forget it here, in whichever order that works."""
    settings = config.settings
    with signedin.alone(settings.login):
        found = signedin.read(settings.login)
        settings.login.unlink()
    form = {"client_id": found.client_id, "token": found.refresh_token}
    try:
        with _client(config) as client:
            client.post(found.revocation_url, data=form).raise_for_status()
    except httpx.HTTPError as error:
        text = f"signed out here; Keycloak could not be told: {clean(str(error))}"
        raise CredentialError(text) from None
    sys.stderr.write("Signed out.\n")
    return ExitCode.STOPPED


def discover(client: httpx.Client, gateway: str) -> Provider:
    """Ask the gateway who signs people in, and that one for its endpoints."""
    said = _fields(client, f"{gateway}{METADATA}", NO_SIGN_IN)
    servers, client_id = said.get("authorization_servers"), said.get("opscenter_client_id")
    if not isinstance(servers, list) or not servers or not isinstance(client_id, str):
        raise CredentialError(NO_SIGN_IN)
    issuer = str(servers[0]).rstrip("/")
    _refuse_open(issuer, gateway)
    away = f"{clean(issuer)} does not say how people sign in there"
    found = _fields(client, f"{issuer}{DISCOVERY}", away)
    if found.get("issuer") != issuer:
        raise CredentialError(f"{away}: it calls itself {clean(str(found.get('issuer')))}")
    return Provider(
        issuer=issuer,
        client_id=client_id,
        device_url=_endpoint(found, "device_authorization_endpoint", issuer),
        token_url=_endpoint(found, "token_endpoint", issuer),
        revocation_url=_endpoint(found, "revocation_endpoint", issuer),
    )


def begin(client: httpx.Client, provider: Provider) -> Code:
    """Ask for a code (RFC 8628, section 3.1)."""
    form = {"client_id": provider.client_id, "scope": SCOPE}
    try:
        said = signedin.answer(client.post(provider.device_url, data=form))
        return Code(
            device_code=_text(said, "device_code"),
            user_code=_text(said, "user_code"),
            url=_text(said, "verification_uri"),
            whole_url=str(said.get("verification_uri_complete", "")),
            every_s=min(max(lasts_s(said, "interval", SLOWER_S), LEAST_S), SLOWEST_S),
            until_s=time.monotonic() + min(lasts_s(said), MOST_S),
        )
    except (httpx.HTTPError, ValueError, CredentialError) as error:
        raise CredentialError(f"no code could be had to sign in with: {error!r}") from None


def wait(
    client: httpx.Client, provider: Provider, code: Code, pause: Callable[[float], object]
) -> dict[str, Any]:
    """Ask until the person has said yes or no, or the code has run out (section 3.4)."""
    form = {"client_id": provider.client_id, "grant_type": DEVICE_GRANT}
    every_s = code.every_s
    while time.monotonic() < code.until_s:
        pause(every_s)
        try:
            answer = client.post(provider.token_url, data=form | {"device_code": code.device_code})
            said = signedin.answer(answer)
        except (httpx.HTTPError, ValueError):
            continue  # it may be back in a moment
        if answer.is_success:
            return said
        problem = said.get("error")
        if problem == "slow_down":
            every_s += SLOWER_S
        elif problem == "access_denied":
            raise CredentialError("the sign-in was refused")
        elif problem != "authorization_pending":
            raise CredentialError(f"the sign-in failed: {clean(str(problem))}")
    raise CredentialError("nobody said yes in time; begin again with ops-connector login")


def _refuse_open(url: str, gateway: str) -> None:
    """A month's sign-in does not travel where others read it, unless the gateway's own key does."""
    try:
        is_open = urlsplit(url).scheme != "https" and urlsplit(gateway).scheme == "https"
    except ValueError as error:
        raise CredentialError(f"{clean(url)} is no address") from error
    if is_open:
        raise CredentialError(f"{clean(url)} is not encrypted; nobody signs in there")


def _endpoint(found: Mapping[str, Any], name: str, issuer: str) -> str:
    """An address of the issuer's own."""
    url = _text(found, name)
    if urlsplit(url)[:2] != urlsplit(issuer)[:2]:
        raise CredentialError(f"Keycloak's {name} is at another address: {clean(url)}")
    return url


def _show(code: Code) -> None:
    address = clean(code.whole_url or code.url)
    sys.stderr.write(
        f"Open this address in a browser, on any device:\n\n  {address}\n\n"
        f"and check that it shows the code {clean(code.user_code)}. Waiting …\n"
    )
    sys.stderr.flush()


def _client(config: Config) -> httpx.Client:
    return httpx.Client(verify=addresses.trust(config.settings.ca_file), timeout=ANSWER_S)


def _fields(client: httpx.Client, url: str, else_say: str) -> dict[str, Any]:
    try:
        answer = client.get(url)
        return signedin.answer(answer) if answer.is_success else _nothing(else_say)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CredentialError(f"{clean(url)} cannot be reached: {clean(str(error))}") from None
    except ValueError:
        return _nothing(else_say)


def _nothing(say: str) -> dict[str, Any]:
    raise CredentialError(say)


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise CredentialError(f"Keycloak's answer has no {name}")
    return found
