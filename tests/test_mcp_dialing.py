"""Connections to servers that users name: judged at the very moment, and never elsewhere."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp import dialing, targets
from mcp.targets import Allowed, BadTargetError
from tests import certificates
from tests import mcp_http as scripted
from tests.gateway import free_port
from tests.mcp_http import McpHttp

mcp_http = scripted.mcp_http


def allow(*entries: str) -> Allowed:
    found = targets.allowed(entries)
    assert isinstance(found, Allowed)
    return found


class Names:
    """A name server that says something else each time, and the last thing for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def got(url: str, allowed: Allowed, names: Names, **more: Any) -> httpx.Response:
    target = targets.checked(url, allowed)
    async with dialing.client(target, allowed, silent_s=5, resolve=names, **more) as client:
        return await client.get(target.url)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)
async def test_it_connects_to_no_private_address(address: str) -> None:
    with pytest.raises(BadTargetError):
        await got("https://evil.example", Allowed(), Names([address]))


async def test_it_looks_once_and_connects_to_what_it_saw(mcp_http: McpHttp) -> None:
    # Judged good the first time; the second answer would be refused, the third never asked for.
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    mine = allow("127.0.0.1/32")
    url = f"http://rebinding.example:{mcp_http.server_port}/"
    assert (await got(url, mine, names)).status_code == 405
    assert names.asked == ["rebinding.example"]
    assert mcp_http.last("GET").headers["host"] == f"rebinding.example:{mcp_http.server_port}"
    with pytest.raises(BadTargetError):
        await got(url, mine, names)
    assert len(names.asked) == 2
    assert len(mcp_http.heard) == 1


async def test_it_judges_anew_for_each_request_of_a_client(mcp_http: McpHttp) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    mine = allow("127.0.0.1/32")
    target = targets.checked(f"http://rebinding.example:{mcp_http.server_port}/", mine)
    async with dialing.client(target, mine, silent_s=5, resolve=names) as client:
        assert (await client.get(target.url)).status_code == 405
        with pytest.raises(BadTargetError):
            await client.get(target.url)
    assert len(mcp_http.heard) == 1


async def test_it_uses_only_the_good_ones_of_several_addresses(mcp_http: McpHttp) -> None:
    names = Names(["10.9.9.9", "169.254.169.254", "127.0.0.3", "127.0.0.1"])
    mine = allow("127.0.0.0/30")  # nobody listens at the first of them
    url = f"http://several.example:{mcp_http.server_port}/"
    assert (await got(url, mine, names)).status_code == 405


async def test_it_takes_an_international_name_in_its_plain_form(mcp_http: McpHttp) -> None:
    names, mine = Names(["127.0.0.1"]), allow("127.0.0.1/32")
    host = f"xn--bcher-kva.example:{mcp_http.server_port}"
    assert (await got(f"http://{host}/", mine, names)).status_code == 405
    assert mcp_http.last("GET").headers["host"] == host


async def test_it_takes_an_ipv6_address() -> None:
    with pytest.raises(httpx.ConnectError):
        await got(f"http://[::1]:{free_port()}/", allow("[::1]"), Names(["::1"]))


async def test_it_says_the_same_of_a_name_that_nobody_knows() -> None:
    with pytest.raises(BadTargetError) as unknown:
        await dialing.resolve("no-such-host.invalid", 443)
    with pytest.raises(BadTargetError) as private:
        await got("https://intranet.example", Allowed(), Names(["10.0.0.1"]))
    assert str(unknown.value) == str(private.value)


async def test_it_looks_real_names_up() -> None:
    assert set(await dialing.resolve("localhost", 443)) & {"127.0.0.1", "::1"}
    assert await dialing.resolve("8.8.8.8", 443) == ["8.8.8.8"]


async def test_it_waits_for_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30))
    monkeypatch.setattr(dialing, "CONNECT_S", 0.05)
    try:
        with pytest.raises(BadTargetError):
            await asyncio.wait_for(dialing.resolve("slow.example", 443), 10)
    finally:
        answered.set()


async def test_it_asks_no_other_host_than_the_one_it_was_made_for(mcp_http: McpHttp) -> None:
    mine = allow("127.0.0.1", "localhost")
    target = targets.checked(mcp_http.url, mine)
    async with dialing.client(target, mine, silent_s=5) as client:
        with pytest.raises(BadTargetError, match="another host"):
            await client.get(f"http://localhost:{mcp_http.server_port}/")
        with pytest.raises(BadTargetError, match="another host"):
            await client.get(f"http://127.0.0.1:{free_port()}/")
    assert mcp_http.heard == []


@pytest.fixture
def trusting(tmp_path: Path, mcp_http: McpHttp) -> Iterator[ssl.SSLContext]:
    """The server speaks TLS as good.example; who uses this context believes it."""
    path = certificates.written(tmp_path, "good.example")
    speaks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    speaks.load_cert_chain(path, path.with_name("key.pem"))
    speaks.set_servername_callback(_noting(mcp_http))
    mcp_http.socket = speaks.wrap_socket(mcp_http.socket, server_side=True)
    yield ssl.create_default_context(cafile=path)


def _noting(server: McpHttp) -> Callable[[Any, str | None, Any], None]:
    def note(connection: Any, name: str | None, context: Any) -> None:
        server.names.append(name)

    return note


async def test_it_judges_the_certificate_by_the_name(
    mcp_http: McpHttp, trusting: ssl.SSLContext
) -> None:
    mine = allow("127.0.0.1/32")
    names = Names(["127.0.0.1"])
    good = f"https://good.example:{mcp_http.server_port}/"
    assert (await got(good, mine, names, trusted=trusting)).status_code == 405
    assert mcp_http.names == ["good.example"]
    assert mcp_http.last("GET").headers["host"] == f"good.example:{mcp_http.server_port}"
    with pytest.raises(httpx.ConnectError):  # though the address is in the certificate
        await got(good.replace("good", "evil"), mine, names, trusted=trusting)
    with pytest.raises(httpx.ConnectError):  # nobody vouches for it
        await got(good, mine, names)
    address = good.replace("good.example", "127.0.0.1")
    assert (await got(address, mine, names, trusted=trusting)).status_code == 405
    assert len(mcp_http.heard) == 2
