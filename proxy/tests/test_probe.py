"""What an upstream is found to be when somebody asks."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from proxy import probe, probe_client
from proxy.routing import UpstreamConfig
from proxy.tests.listing import Listing, listing
from tests import certificates
from tests.gateway import free_port

__all__ = ["listing"]

SECRET = "sk-very-secret"


def config(url: str, **more: Any) -> UpstreamConfig:
    fields: dict[str, Any] = {"name": "box", "kind": "compatible", "base_url": url}
    return UpstreamConfig(**(fields | more))


async def test_it_names_the_first_models_and_counts_the_rest(listing: Listing) -> None:
    listing.lists(*"abcdefg")
    finding = await probe.tested(config(listing.url, credential=SECRET))
    assert (finding.ok, finding.reachable, finding.credential) == (True, True, "accepted")
    assert (finding.models, finding.count) == (tuple("abcde"), 7)
    assert (
        str(finding) == "It is there and takes the credential. It lists 7 models: a, b, c, d, e, …."
    )
    assert SECRET not in repr(finding)


@pytest.mark.parametrize(
    ("kind", "header", "name", "shown"),
    [
        ("anthropic", "x-api-key", "x-api-key", SECRET),
        ("compatible", "authorization", "authorization", f"Bearer {SECRET}"),
        ("openai", "x-api-key", "authorization", f"Bearer {SECRET}"),
    ],
)
async def test_it_shows_the_credential_as_that_kind_wants_it(
    listing: Listing, kind: str, header: str, name: str, shown: str
) -> None:
    url = f"{listing.url}/prefix"
    extra = {"x-team": "research"}
    await probe.tested(
        config(url, kind=kind, credential=SECRET, credential_header=header, headers=extra)
    )
    [heard] = listing.heard
    assert (heard["path"], heard[name]) == ("/prefix/v1/models", shown)
    assert heard["x-team"] == "research"
    assert heard["host"] == f"127.0.0.1:{listing.server_port}"
    assert len({"x-api-key", "authorization"} & heard.keys()) == 1


@pytest.mark.parametrize(
    ("status", "ok", "credential", "says"),
    [
        (401, False, "refused", "refuses the credential (401)"),
        (403, False, "refused", "refuses the credential (403)"),
        (404, True, "unknown", "has no list of models (404)"),
        (405, True, "unknown", "has no list of models (405)"),
        (429, True, "unknown", "asks to wait (429)"),
        (400, False, "unknown", "answers with status 400"),
        (503, False, "unknown", "answers with status 503"),
    ],
)
async def test_it_says_what_a_status_means(
    listing: Listing, status: int, ok: bool, credential: str, says: str
) -> None:
    listing.status = status
    finding = await probe.tested(config(listing.url, credential=SECRET))
    assert (finding.ok, finding.reachable, finding.credential) == (ok, True, credential)
    assert says in finding.text


async def test_it_says_that_a_credential_is_wanted(listing: Listing) -> None:
    listing.status = 401
    finding = await probe.tested(config(listing.url))
    assert (finding.ok, finding.credential) == (False, "none")
    assert "wants a credential (401)" in finding.text


async def test_it_follows_no_redirect_and_shows_no_secret_of_it(listing: Listing) -> None:
    listing.status = 302
    listing.headers = {"location": "https://me:pass@other.example/v1/models?token=abc"}
    finding = await probe.tested(config(listing.url, credential=SECRET))
    assert (finding.ok, finding.detail) == (False, "(https://other.example/v1/models)")
    assert len(listing.heard) == 1
    assert "other.example" not in finding.text  # tenants may read the text


async def test_it_tells_a_web_page_from_an_upstream(listing: Listing) -> None:
    listing.headers, listing.body = {"content-type": "text/html"}, b"<h1>Welcome</h1>"
    finding = await probe.tested(config(listing.url))
    assert not finding.ok
    assert "web page" in finding.text


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'{"data":null}', b'{"data":[{"name":"x"}]}', b"[" * 100_000, b"\xff"],
)
async def test_it_takes_a_list_in_no_known_shape_for_none(listing: Listing, body: bytes) -> None:
    listing.body = body
    finding = await probe.tested(config(listing.url))
    assert (finding.ok, finding.count) == (True, 0)
    assert "no shape that is known" in finding.text


async def test_it_names_no_model_that_would_move_a_terminal(listing: Listing) -> None:
    listing.lists("good", "bad\x1b[31m", "bad\n")
    listing.body = listing.body.replace(b"]}", b', {"id": 7}]}')
    assert (await probe.tested(config(listing.url))).models == ("good",)


async def test_it_reads_no_list_without_an_end(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_client, "MAX_BYTES", 1000)
    listing.body = json.dumps({"data": [{"id": "m" * 2_000_000}]}).encode()
    assert (await probe.tested(config(listing.url))).count == 0


async def test_it_says_that_nobody_listens() -> None:
    finding = await probe.tested(config(f"http://127.0.0.1:{free_port()}"))
    assert (finding.ok, finding.reachable) == (False, False)
    assert finding.text == "Nobody listens at its address and port."


async def test_it_gives_up_on_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TOTAL_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finding = await probe.tested(config(url))
    assert not finding.reachable
    assert "did not answer within" in finding.text


async def test_it_says_that_a_name_is_unknown() -> None:
    finding = await probe.tested(config("http://no-such-host.invalid"))
    assert finding.text == "Its host name is not known here."
    assert finding.detail == "(no-such-host.invalid)"


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://[fe80::1]", "http://0.0.0.0"])
async def test_it_asks_no_metadata_service(url: str) -> None:
    finding = await probe.tested(config(url, credential=SECRET))
    assert "link-local or metadata address" in finding.text


async def test_it_asks_no_name_that_leads_to_one(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ("127.0.0.1", listing.server_port)
    bad = ("169.254.169.254", listing.server_port)
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (there, bad)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    named = f"http://innocent.example:{listing.server_port}"
    finding = await probe.tested(config(named))
    assert "link-local or metadata address" in finding.text
    assert "169.254" not in finding.text  # tenants may read the text
    assert not listing.heard
    allowed = await probe.tested(config(named, private_networks=True))
    assert allowed.ok
    assert listing.heard[0]["host"] == f"innocent.example:{listing.server_port}"


async def test_it_tries_the_next_address_of_a_name(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [("127.0.0.2", listing.server_port), ("127.0.0.1", listing.server_port)]
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    assert (await probe.tested(config(f"http://two:{listing.server_port}"))).ok


@pytest.mark.parametrize(
    "more", [{"credential": "ключ"}, {"credential": "a\nb"}, {"headers": {"x": "a\r\nb"}}]
)
async def test_it_sends_nothing_that_is_no_header(listing: Listing, more: dict[str, Any]) -> None:
    finding = await probe.tested(config(listing.url, **more))
    assert finding.text == "Its address, headers or credential cannot be sent."


async def test_it_asks_nobody_where_the_credential_cannot_be_used(listing: Listing) -> None:
    finding = await probe.tested(config(listing.url, problem="KEY is not set."))
    assert (finding.ok, finding.text, listing.heard) == (False, "KEY is not set.", [])


async def test_it_has_no_doubt_about_the_demo() -> None:
    assert (await probe.tested(config("", kind="demo"))).ok


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificates.written(tmp_path)


@pytest.fixture
def ca(certificate: Path) -> str:
    """The same, as it is pasted into a row."""
    return certificate.read_text()


async def test_it_trusts_what_the_row_says(listing: Listing, certificate: Path, ca: str) -> None:
    listing.speak_tls(str(certificate), str(certificate.with_name("key.pem")))
    url = f"https://localhost:{listing.server_port}"
    strange = await probe.tested(config(url))
    assert (strange.ok, strange.text) == (False, "Its certificate is not trusted.")
    assert (await probe.tested(config(url, tls_ca=ca))).ok
    assert (await probe.tested(config(url, tls_verify=False))).ok


async def test_it_judges_the_certificate_by_the_name(
    listing: Listing, certificate: Path, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.speak_tls(str(certificate), str(certificate.with_name("key.pem")))
    place = ("127.0.0.1", listing.server_port)  # which the certificate is good for
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    named = f"https://other.example:{listing.server_port}"
    finding = await probe.tested(config(named, tls_ca=ca))
    assert (finding.ok, finding.text) == (False, "Its certificate is not trusted.")
    assert "other.example" in finding.detail
    assert not listing.heard


async def test_it_sees_that_an_address_speaks_no_tls(listing: Listing) -> None:
    finding = await probe.tested(config(f"https://127.0.0.1:{listing.server_port}"))
    assert "does not speak TLS" in finding.text


async def test_it_says_that_a_ca_cannot_be_read() -> None:
    finding = await probe.tested(config("https://127.0.0.1:9", tls_ca="no certificate"))
    assert "CA cannot be read" in finding.text
