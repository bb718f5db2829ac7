"""GET /v1/health, the switch that closes the gateway, and the two questions asked at a start."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.principal import CALLBACK, SCOPES
from accounts.tests.people import Person
from billing.models import UsageRecord
from proxy.models import Route, Upstream
from tests import answers
from tests import gateway as gateways
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.upstream import Upstream as ScriptedUpstream

KEYS = {"status", "brigade_connected", "database", "upstreams", "timestamp"}
PROBED_WITHIN = timedelta(seconds=10)  # two probes of 2 s, and a loaded machine
BODY = {"model": "claude-opus-5-5", "max_tokens": 1, "messages": []}


@contextmanager
def neighbour(status: int) -> Iterator[str]:
    """The address of a small server that answers everything with `status`."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: the test's own output is enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def nobody() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{gateways.free_port()}"


@contextmanager
def asking(log: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client without a key, of a gateway of its own: what it finds out is remembered for 5 s."""
    with (
        gateways.running(log, **settings) as (url, _),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client
    assert "Traceback" not in log.read_text()


def health(client: httpx.Client, **headers: str) -> dict[str, Any]:
    response = client.get("/v1/health", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.headers["request-id"].startswith("req_")
    said: dict[str, Any] = response.json()
    return said


@pytest.mark.django_db(transaction=True)
def test_it_tells_anybody_that_all_is_well(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    lead_to(upstream.url)
    lead_to(upstream.url, pattern="claude-*")
    demo = Upstream.objects.create(name="demo", kind="demo")
    Route.objects.create(pattern="demo", upstream=demo)
    with asking(tmp_path / "log") as client:
        said = health(client)
    assert set(said) == KEYS
    assert (said["status"], said["brigade_connected"], said["database"]) == ("healthy", False, "ok")
    assert said["upstreams"] == {"scripted": "ok", "demo": "ok"}
    age = datetime.now(UTC) - datetime.fromisoformat(said["timestamp"])
    assert timedelta(0) <= age < PROBED_WITHIN
    # A probe is no request: it shows no credential and costs nothing.
    assert [(r.method, r.path, r.body) for r in upstream.requests] == [("GET", "/", b"")]


@pytest.mark.django_db(transaction=True)
def test_it_names_the_upstream_that_is_dead(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    lead_to(upstream.url)
    dead = Upstream.objects.create(name="dead", kind="anthropic", base_url=nobody())
    Route.objects.create(pattern="dead-*", upstream=dead)
    off = Upstream.objects.create(name="off", kind="anthropic", base_url=nobody(), enabled=False)
    Route.objects.create(pattern="off-*", upstream=off)
    with asking(tmp_path / "log") as client:
        said = health(client)
    assert (said["status"], said["database"]) == ("degraded", "ok")
    assert said["upstreams"] == {"scripted": "ok", "dead": "unreachable"}


@pytest.mark.django_db(transaction=True)
def test_it_tells_strangers_of_no_upstream_that_one_organization_has_for_itself(
    tmp_path: Path, upstream: ScriptedUpstream, alice: Person
) -> None:
    lead_to(upstream.url)
    lead_to(nobody(), name="secret", organization=alice.organization)
    with asking(tmp_path / "log") as client:
        said = health(client)
    assert said["upstreams"] == {"scripted": "ok"}
    assert said["status"] == "degraded", "its state counts all the same"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("status", "connected", "state"),
    [(200, True, "healthy"), (204, True, "healthy"), (503, False, "degraded")],
)
def test_it_asks_brigade_how_it_is(
    tmp_path: Path, status: int, connected: bool, state: str
) -> None:
    with (
        neighbour(status) as brigade,
        asking(tmp_path / "log", BRIGADE_URL=f"{brigade}/") as client,
    ):
        said = health(client)
    assert (said["brigade_connected"], said["status"]) == (connected, state)


@pytest.mark.django_db(transaction=True)
def test_it_is_degraded_without_the_brigade_it_was_promised(tmp_path: Path) -> None:
    with asking(tmp_path / "log", BRIGADE_URL=nobody()) as client:
        said = health(client)
    assert (said["brigade_connected"], said["status"]) == (False, "degraded")


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize("path", ["/v1/health", "/v1/health/", "/v1/v1/health"])
def test_it_confirms_a_good_key(gateway: Gateway, alice: Person, header: str, path: str) -> None:
    row, plaintext = alice.key("doctor", [CALLBACK])
    value = f"Bearer {plaintext}" if header == "authorization" else plaintext
    response = httpx.get(gateway.url + path, headers={header: value}, trust_env=False)
    assert response.status_code == 200
    assert response.json()["credential"] == {
        "valid": True,
        "organization_id": str(alice.organization.id),
        "key_id": row.id,
        "plan": "none",
        "scopes": [CALLBACK],
    }
    assert plaintext not in response.text


def test_it_lists_the_scopes_of_a_key(client: httpx.Client) -> None:
    assert client.get("/v1/health").json()["credential"]["scopes"] == sorted(SCOPES)


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": "Bearer sk-uc-000000000000-" + "a" * 43},
        {"x-api-key": "sk-ant-something"},
        {"authorization": "Basic YTpi"},
        {"authorization": ""},
    ],
)
def test_it_refuses_a_bad_key_even_where_none_is_needed(
    gateway: Gateway, shown: dict[str, str]
) -> None:
    response = httpx.get(f"{gateway.url}/v1/health", headers=shown, trust_env=False)
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"
    assert response.headers["x-should-retry"] == "false"
    assert KEYS.isdisjoint(response.json())


def test_it_tells_strangers_no_address_and_no_key(gateway: Gateway) -> None:
    said = httpx.get(f"{gateway.url}/v1/health", trust_env=False)
    assert set(said.json()) == KEYS
    assert Upstream.objects.get().base_url not in said.text


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/stream", "/v1/v1/messages"])
def test_it_says_why_it_serves_no_messages_when_switched_off(
    switched_off: httpx.Client, path: str
) -> None:
    response = switched_off.post(path, json=BODY)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "api_error")
    assert response.headers["x-should-retry"] == "false"
    assert "ANTHROPIC_PROXY_ENABLED" in response.json()["error"]["message"]
    assert not UsageRecord.objects.exists()


def test_it_goes_on_telling_its_health_when_switched_off(switched_off: httpx.Client) -> None:
    assert health(switched_off)["credential"]["valid"] is True
    assert switched_off.get("/v1/models").status_code == 200


def test_it_tells_strangers_nothing_of_the_switch(switched_off: httpx.Client) -> None:
    response = httpx.post(switched_off.base_url.join("/v1/messages"), json=BODY, trust_env=False)
    assert response.status_code == 401


@pytest.fixture(scope="module")
def closed(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A gateway that its operator has switched off, for all tests of this file."""
    log = tmp_path_factory.mktemp("closed") / "log"
    with asking(log, ANTHROPIC_PROXY_ENABLED="false") as client:
        yield client


@pytest.fixture
def switched_off(closed: httpx.Client, key: str) -> httpx.Client:
    """The same, as Alice sees it."""
    closed.headers["authorization"] = f"Bearer {key}"
    return closed


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_it_answers_a_clients_first_question_with_an_empty_200(server: Gateway, path: str) -> None:
    response = httpx.head(server.url + path, trust_env=False)  # follows no redirect
    assert (response.status_code, response.content) == (200, b"")


def test_it_answers_head_for_a_probe(server: Gateway) -> None:
    response = httpx.head(f"{server.url}/v1/health", trust_env=False)
    assert (response.status_code, response.content) == (200, b"")


def test_it_asks_an_upstream_for_its_status_and_not_for_all_it_has_to_say(
    gateway: Gateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    forever = (b"", answers.Endless(b"x" * 65536))
    upstream.script(answers.Answer(steps=forever), path="/")
    with asking(tmp_path / "gateway.log") as client:
        assert client.get("/v1/health").json()["upstreams"] == {"scripted": "ok"}
        assert upstream.sent_to("/")[0].left(within_s=5)
