"""What the doctor says of certificates: the gateway's own, and those of neighbours."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from pytest_django import Settings

from accounts import jwks, trust
from opscenter.doctor import neighbours, server
from opscenter.doctor.finding import Finding, Verdict
from tests import certificates

Site = Callable[[int], str]
BODIES = {
    "/v1/health": b'{"status": "healthy"}',
    "/certs": b'{"keys": [{}]}',
    "/api/v1/billable_metrics/x": b'{"billable_metric": {}}',
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = BODIES[self.path]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server whose certificate this machine believes, for so many days."""
    servers = []

    def begun(days: int) -> str:
        path = certificates.written(tmp_path, days=days)
        speaks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        speaks.load_cert_chain(path, path.with_name("key.pem"))
        found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        found.socket = speaks.wrap_socket(found.socket, server_side=True)
        servers.append(found)
        threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        trust.context.cache_clear()
        return f"https://localhost:{found.server_port}"

    yield begun
    for one in servers:
        one.shutdown()
        one.server_close()
    trust.context.cache_clear()


def outside(settings: Settings, address: str) -> Finding:
    settings.EXTERNAL_API_URL = address
    return server.outside()


def test_it_says_how_long_the_certificate_is_good(site: Site, settings: Settings) -> None:
    found = outside(settings, site(90))
    assert found.verdict is Verdict.OK
    assert "says healthy; its certificate is good for 90 days." in found.text


def test_a_gateway_that_is_degraded_is_not_the_proxys_fault(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BODIES, "/v1/health", b'{"status": "degraded"}')
    found = outside(settings, site(90))
    assert (found.verdict, found.help) == (Verdict.WARN, "Look at the lines that fail.")


def test_it_warns_before_the_certificate_ends(site: Site, settings: Settings) -> None:
    found = outside(settings, site(5))
    assert (found.verdict, found.docs) == (Verdict.WARN, server.TLS_DOCS)
    assert "ends in 5 days" in found.text


def test_it_tells_a_certificate_that_nobody_trusts_from_a_server_that_is_away(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = site(90)
    monkeypatch.delenv("SSL_CERT_FILE")
    trust.context.cache_clear()
    found = outside(settings, address)
    assert (found.verdict, found.docs) == (Verdict.FAILS, server.TLS_DOCS)
    assert "does not trust its certificate" in found.text


def test_an_authority_of_this_machine_is_believed_of_keycloak_and_lago(
    site: Site, settings: Settings
) -> None:
    address = site(90)
    settings.OIDC_ISSUERS = {"here": f"{address}/certs"}
    settings.OIDC_OP_TOKEN_ENDPOINT = f"{address}/token"
    settings.OIDC_CALLBACK_URL = f"{address}/oidc/callback/"
    settings.LAGO_API_URL, settings.LAGO_API_KEY = address, "a-key"
    settings.LAGO_EVENT_CODE = "x"
    assert neighbours.keycloak().verdict is Verdict.OK
    assert jwks._get(f"{address}/certs") == BODIES["/certs"]
    assert neighbours.lago_there().verdict is Verdict.OK
    answer = requests.get(f"{address}/certs", verify=trust.store(), timeout=5)  # as at a sign-in
    assert answer.content == BODIES["/certs"]
