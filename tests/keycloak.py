"""A stand-in for Keycloak on a real socket: it checks each request of a sign-in and signs tokens.

Its realm is `opscenter`, as in deploy/keycloak. What breaks OpenID Connect stands in `faults`.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pytest_django import Settings

from accounts import jwt as tokens

REALM = "/realms/opscenter"
PROTOCOL = f"{REALM}/protocol/openid-connect"
CLIENT = "ops-center"
LIFE_S = 300
LOOK_S = 0.02  # how soon it sees that it is to stop

Claims = dict[str, Any]


@cache
def key(number: int) -> rsa.RSAPrivateKey:
    """One key for each number: to make one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _said(claims: Claims) -> Claims:
    return {name: value for name, value in claims.items() if value is not None}


def _part(claims: Claims) -> bytes:
    return _base64(json.dumps(claims).encode()).encode()


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass(slots=True, kw_only=True)
class SignIn:
    """One that is under way."""

    nonce: str
    challenge: str
    redirect_uri: str


@dataclass(slots=True)
class Keycloak:
    """It runs in threads of its own."""

    person: Claims = field(default_factory=lambda: {"sub": "s-1", "preferred_username": "ada"})
    says: str = ""  # the error of the next sign-in, instead of a code
    sid: str = "sid-1"
    keys: list[int] = field(default_factory=lambda: [0])  # the last one signs
    keys_asked: int = 0
    access_more: Claims = field(default_factory=dict)
    identity_more: Claims = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    codes: dict[str, SignIn] = field(default_factory=dict)
    secret: str = ""
    url: str = ""
    _server: ThreadingHTTPServer | None = None

    @property
    def issuer(self) -> str:
        return f"{self.url}{REALM}"

    def access(self, roles: list[str] | None = None, **more: Any) -> str:
        """An access token of the person."""
        own = {"typ": "Bearer", "aud": [CLIENT, "account"], "azp": CLIENT, "sid": self.sid}
        granted = {"resource_access": {CLIENT: {"roles": roles or []}}}
        return self.sign(granted | self.person | own | self.access_more | more)

    def identity(self, nonce: str, **more: Any) -> str:
        """An ID token of the person."""
        own = {"typ": "ID", "aud": CLIENT, "azp": CLIENT, "sid": self.sid, "nonce": nonce}
        return self.sign(self.person | own | self.identity_more | more)

    def logout(self, **more: Any) -> str:
        """A logout token of the person's session."""
        own = {"typ": "Logout", "aud": CLIENT, "sid": self.sid, "events": {tokens.LOGOUT: {}}}
        return self.sign({"sub": self.person["sub"], "jti": uuid4().hex} | own | more)

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token that this realm signs now. A claim of None is left out."""
        now = int(time.time())
        payload = {"iss": self.issuer, "iat": now, "exp": now + LIFE_S} | dict(claims)
        head = {"alg": "RS256", "typ": "JWT", "kid": f"kid-{self.keys[-1]}"} | header
        sent = b".".join(_part(_said(each)) for each in (head, payload))
        signature = key(self.keys[-1]).sign(sent, padding.PKCS1v15(), hashes.SHA256())
        return f"{sent.decode()}.{_base64(signature)}"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        run = self._server.serve_forever
        threading.Thread(target=run, args=(LOOK_S,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As a server that is down: connections are refused from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keycloak = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if parts.path == f"{PROTOCOL}/certs":
                    self._answer(200, keycloak.published())
                elif parts.path == f"{PROTOCOL}/auth":
                    self._answer(302, {}, keycloak.begun(asked))
                else:
                    keycloak.faults.append(f"GET {parts.path}")
                    self._answer(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                asked = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(*keycloak.exchanged(self.path, asked))

            def _answer(self, status: int, body: Claims, location: str = "") -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                if location:
                    self.send_header("location", location)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def published(self) -> Claims:
        """The keys as a set (RFC 7517), with one for encryption as Keycloak's has it."""
        self.keys_asked += 1
        algorithm = jwt.algorithms.RSAAlgorithm
        found = [
            json.loads(algorithm.to_jwk(key(number).public_key()))
            | {"kid": f"kid-{number}", "use": "sig", "alg": "RS256"}
            for number in self.keys
        ]
        other = found[0] | {"kid": "for-encryption", "use": "enc", "alg": "RSA-OAEP"}
        odd = other | {"kid": "for-encryption-too", "alg": "RS256"}
        return {"keys": [*found, other, odd]}

    def begun(self, asked: Claims) -> str:
        """Where the browser is sent: at once, as if the person had typed the right password."""
        wanted = {"response_type": "code", "client_id": CLIENT, "code_challenge_method": "S256"}
        self._check(asked, wanted)
        if "openid" not in asked.get("scope", "").split():
            self.faults.append("scope lacks openid")
        back = asked["redirect_uri"]
        if self.says:
            return f"{back}?{urlencode({'error': self.says, 'state': asked['state']})}"
        code = uuid4().hex
        self.codes[code] = SignIn(
            nonce=asked["nonce"], challenge=asked["code_challenge"], redirect_uri=back
        )
        return f"{back}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchanged(self, path: str, asked: Claims) -> tuple[int, Claims]:
        """Tokens for a code, once (RFC 6749, section 4.1.3; RFC 7636, section 4.5)."""
        if path != f"{PROTOCOL}/token":
            self.faults.append(f"POST {path}")
            return 404, {}
        if asked.get("client_secret") != self.secret:
            return 401, {"error": "unauthorized_client"}
        begun = self.codes.pop(asked.get("code", ""), None)
        if begun is None:
            return 400, {"error": "invalid_grant", "error_description": "Code not valid"}
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        wanted = {
            "grant_type": "authorization_code",
            "client_id": CLIENT,
            "client_secret": self.secret,
            "redirect_uri": begun.redirect_uri,
        }
        self._check(asked, wanted)
        if _base64(digest) != begun.challenge:
            self.faults.append("code_verifier")
        return 200, {"access_token": self.access(), "id_token": self.identity(begun.nonce)}

    def _check(self, asked: Claims, wanted: Claims) -> None:
        self.faults += [
            f"{name} {asked.get(name)}" for name in wanted if asked.get(name) != wanted[name]
        ]


@pytest.fixture
def keycloak(settings: Settings) -> Iterator[Keycloak]:
    """A Keycloak that the settings name. The test fails if it was sent anything wrong."""
    with Keycloak(secret=settings.OIDC_RP_CLIENT_SECRET) as found:
        settings.OIDC_ISSUER = found.issuer
        settings.OIDC_ISSUERS = {found.issuer: f"{found.url}{PROTOCOL}/certs"}
        settings.OIDC_OP_AUTHORIZATION_ENDPOINT = f"{found.url}{PROTOCOL}/auth"
        settings.OIDC_OP_TOKEN_ENDPOINT = f"{found.url}{PROTOCOL}/token"
        settings.OIDC_OP_LOGOUT_ENDPOINT = f"{found.url}{PROTOCOL}/logout"
        settings.OIDC_CALLBACK_URL = "http://testserver/oidc/callback/"
        settings.OIDC_AUTH_REQUEST_EXTRA_PARAMS = {"redirect_uri": settings.OIDC_CALLBACK_URL}
        settings.LOGOUT_REDIRECT_URL = "http://testserver/"
        tokens._keys.clear()
        yield found
    tokens._keys.clear()
    assert found.faults == []
