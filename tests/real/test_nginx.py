"""A real nginx in front, as operators are told to configure it: what it holds, cuts, repeats."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django_ratelimit import core

from accounts.tests.people import Person
from mcp.states import State
from tests import answers, tunnel
from tests import gateway as gateways
from tests.answers import Gate
from tests.conftest import lead_to, ledger_row
from tests.connector import ready
from tests.gateway import Gateway
from tests.real import nginx
from tests.real.conftest import need
from tests.real.nginx import Nginx
from tests.turns import text_turn
from tests.upstream import Upstream

pytestmark = pytest.mark.real

tidy = tunnel.tidy
WAIT_S = 30
LIMIT = 5
LEAST_S = 45  # what a test may take before a window of its address ends
MIB = 1024 * 1024
EVENTS = text_turn().events()
BODY = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The gateway, by way of nginx."""

    nginx: Nginx
    gateway: Gateway

    def client(self, key: str, **more: object) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.nginx.context(), **more)  # type: ignore[arg-type]  # any of its own
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        return httpx.Client(
            base_url=self.nginx.url, headers=headers, transport=transport, timeout=WAIT_S
        )


@pytest.fixture(scope="module")
def front(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    need("nginx")
    folder = tmp_path_factory.mktemp("front")
    log = folder / "gateway.log"
    told = {
        "OPSCENTER_FAILED_AUTH_PER_MINUTE": str(LIMIT),
        "OPSCENTER_TRUSTED_PROXIES": "1",
        "EXTERNAL_API_URL": "https://localhost",
    }
    with gateways.running(log, **told) as (url, process):
        gateway = Gateway(url=url, key="", process=process, log=log)
        with nginx.running(folder / "nginx", gateway.port) as found:
            yield Front(nginx=found, gateway=gateway)
            assert "temporary file" not in found.log()  # no body and no answer has gone to the disk
    assert "Traceback" not in log.read_text()


@pytest.fixture
def client(front: Front, key: str, upstream: Upstream) -> Iterator[httpx.Client]:
    lead_to(upstream.url)
    with front.client(key) as found:
        yield found


def test_an_event_does_not_wait_for_the_next(client: httpx.Client, upstream: Upstream) -> None:
    gate = Gate()
    upstream.script(answers.stream([*EVENTS[:3], gate, *EVENTS[3:]]))
    with client.stream("POST", "/v1/messages", json=BODY) as response:
        chunks = response.iter_bytes()
        got = b""
        while answers.sse(EVENTS[2]) not in got:
            got += next(chunks)
        gate.open()  # only now may the rest come
        got += b"".join(chunks)
    assert got == b"".join(map(answers.sse, EVENTS))
    assert ledger_row().state == "completed"


def test_who_leaves_is_gone_for_the_upstream_too(client: httpx.Client, upstream: Upstream) -> None:
    upstream.script(answers.stream([*EVENTS[:3], answers.End.HANG]))
    with client.stream("POST", "/v1/messages", json=BODY) as response:
        next(response.iter_bytes())
    assert upstream.requests[0].left(WAIT_S)


@pytest.mark.usefixtures("tidy")
async def test_a_machine_works_through_it(
    front: Front, key: str, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(front.nginx.certificate))
    async with ready(front.nginx.url, key) as laptop:
        asked = tunnel.run(alice)
        call = await laptop.begin()
        assert await laptop.finish(call, "through nginx") == "accepted"
        ended = await asked
    assert ended.state == State.SUCCEEDED


def test_half_sent_headers_are_cut(front: Front) -> None:
    plain = socket.create_connection(("127.0.0.1", front.nginx.port), timeout=WAIT_S)
    with front.nginx.context().wrap_socket(plain, server_hostname="localhost") as line:
        line.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        with contextlib.suppress(ConnectionResetError):
            said = line.recv(4096)
            assert said == b"" or b" 408 " in said
    assert "client timed out" in front.nginx.log()


def test_a_body_that_is_too_long_is_refused_in_our_words(
    client: httpx.Client, upstream: Upstream
) -> None:
    whole = client.post("/v1/messages", content=b" " * (settings.BODY_MAX_BYTES + 1))
    assert whole.status_code == 413
    assert whole.json()["error"]["type"] == "request_too_large"
    assert whole.headers["content-type"] == "application/json"
    assert upstream.requests == []


def test_a_body_that_fits_goes_through(client: httpx.Client, upstream: Upstream) -> None:
    text = "x" * (settings.BODY_MAX_BYTES - 1000)
    long = BODY | {"messages": [{"role": "user", "content": text}]}
    assert client.post("/v1/messages", json=long).status_code == 200
    assert len(upstream.requests[0].body) > settings.BODY_MAX_BYTES - 1000


def address() -> str:
    """One of this host's whose window has just begun: none may end in the middle of a test."""
    every = (f"127.0.1.{n}" for n in range(1, 255))
    return next(a for a in every if core._get_window(a, 60) - core.time.time() > LEAST_S)


def test_whoever_shows_wrong_keys_is_counted_by_their_own_address(
    front: Front, key: str, alice: Person
) -> None:
    _, unknown = alice.key("new")
    with front.client("x", local_address=address()) as stranger:
        for n in range(LIMIT):
            made_up = {"x-forwarded-for": f"198.51.100.{n}"}
            assert stranger.get("/v1/models", headers=made_up).status_code == 401
        again = stranger.get("/v1/models", headers={"x-api-key": unknown})
        assert again.status_code == 429
    with front.client(unknown) as neighbour:
        assert neighbour.get("/v1/models").status_code == 200


def test_without_tls_it_leads_to_where_there_is(front: Front) -> None:
    plain = httpx.get(f"http://localhost:{front.nginx.plain_port}/portal/?a=b", timeout=WAIT_S)
    assert plain.status_code == 308
    assert plain.headers["location"] == "https://localhost/portal/?a=b"


def test_people_sign_in_through_it(client: httpx.Client) -> None:
    page = client.get("/sign-in/", headers={"host": "localhost"})
    assert page.status_code == 200 and "secure" in page.headers["set-cookie"].lower()
    assert page.headers["strict-transport-security"]


@contextlib.contextmanager
def who_hangs_up() -> Iterator[tuple[int, list[bytes]]]:
    """A gateway that dies on every question; its port, and what it was asked."""
    asked = list[bytes]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed in the end
                while True:
                    line, _ = server.accept()
                    with line:
                        asked.append(line.recv(65536))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join(WAIT_S)


def test_a_question_is_asked_once_whatever_becomes_of_it(tmp_path: Path) -> None:
    need("nginx")
    with (
        who_hangs_up() as (one, asked),
        who_hangs_up() as (other, asked_too),
        nginx.running(tmp_path / "nginx", one, other) as found,
    ):
        answer = httpx.post(f"{found.url}/v1/messages", json=BODY, verify=found.context())
    assert answer.status_code == 502 and len(asked + asked_too) == 1


def test_it_goes_elsewhere_where_nobody_listens(
    front: Front, key: str, upstream: Upstream, tmp_path: Path
) -> None:
    lead_to(upstream.url)
    nobody = gateways.free_port()
    with (
        nginx.running(tmp_path / "nginx", nobody, front.gateway.port) as found,
        replace(front, nginx=found).client(key) as client,
    ):
        asked = [client.post("/v1/messages", json=BODY).status_code for _ in range(3)]
    assert asked == [200] * 3


def test_a_gateway_that_is_away_is_a_502_that_says_when(tmp_path: Path) -> None:
    need("nginx")
    with nginx.running(tmp_path / "nginx", gateways.free_port()) as found:
        answer = httpx.post(f"{found.url}/v1/messages", json=BODY, verify=found.context())
    assert answer.status_code == 502 and answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["type"] == "api_error"
