"""What doctor finds at gateways that are broken in one way each."""

import asyncio
import io
import json
import socket
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import config
from opscenter_connector.checkup.steps import (
    FAILED,
    OK,
    SKIPPED,
    WARNING,
    Finding,
    Patient,
    examine,
)
from opscenter_connector.doctor import STEPS
from tests.gateways import KEY, Answer, Asked, certificate, gateway, said, well


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no configuration and no state of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def findings(url: str, key: str = KEY, **given: Any) -> dict[str, Finding]:
    """All steps but the local servers', by their names."""
    home = str(Path.cwd())
    environ = {"XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home, "MCP_API_KEY": key}
    environ = {name: value for name, value in environ.items() if value}
    loaded = config.load({"api_url": url} | given, environ, io.StringIO())
    return {found.step: found async for found in examine(STEPS, Patient(config=loaded))}


def states(found: dict[str, Finding]) -> dict[str, str]:
    return {step: finding.state for step, finding in found.items()}


async def test_it_finds_nothing_wrong_with_a_gateway_that_is_well() -> None:
    async with gateway(well) as port:
        found = await findings(f"http://127.0.0.1:{port}/v1")
    assert set(states(found).values()) == {OK}, found
    assert KEY not in str(found)


async def test_it_says_that_nothing_listens_and_tries_nothing_that_needs_it() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        found = await findings(f"http://127.0.0.1:{port}")

    assert "refuses" in found["port"].seen
    assert found["port"].fix == ("make run    # on the gateway",)
    tried = {step for step, state in states(found).items() if state != SKIPPED}
    assert tried == {"proxy", "name", "port", "key", "state"}


async def test_it_says_that_a_name_has_no_address() -> None:
    found = await findings("https://gateway.invalid")
    assert found["name"].state == FAILED
    assert found["name"].seen.startswith("gateway.invalid has no address")
    assert found["port"].state == SKIPPED


async def test_it_says_that_a_certificate_is_not_trusted_and_how_to_trust_it(
    tmp_path: Path,
) -> None:
    made = certificate(tmp_path)
    async with gateway(well, made.served) as port:
        found = await findings(f"https://127.0.0.1:{port}")
        trusting = await findings(f"https://127.0.0.1:{port}", ca_file=str(made.file))

    assert found["TLS"].state == FAILED
    assert "self-signed" in found["TLS"].seen.replace("self signed", "self-signed")
    assert any("SSL_CERT_FILE" in line for line in found["TLS"].fix)
    assert found["gateway"].state == SKIPPED
    assert set(states(trusting).values()) == {OK}, trusting


@pytest.mark.parametrize(
    ("made", "seen", "fix"),
    [
        ({"days": -2}, "expired", "date"),
        ({"name": "127.0.0.9"}, "mismatch", "THAT-NAME"),
    ],
)
async def test_it_says_what_is_wrong_with_a_certificate(
    tmp_path: Path, made: dict[str, Any], seen: str, fix: str
) -> None:
    bad = certificate(tmp_path, **made)
    async with gateway(well, bad.served) as port:
        found = await findings(f"https://127.0.0.1:{port}", ca_file=str(bad.file))
    assert found["TLS"].state == FAILED
    assert seen in found["TLS"].seen
    assert fix in " ".join(found["TLS"].fix)


async def test_it_warns_of_a_certificate_that_ends_soon(tmp_path: Path) -> None:
    made = certificate(tmp_path, days=5)
    async with gateway(well, made.served) as port:
        found = await findings(f"https://127.0.0.1:{port}", ca_file=str(made.file))
    assert found["TLS"].state == WARNING
    assert "for 5 days more" in found["TLS"].seen


async def test_it_says_that_a_port_speaks_no_tls() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await findings(f"https://127.0.0.1:{port}")
    assert found["TLS"].state == FAILED
    assert found["TLS"].fix == (f"ops-connector doctor --api-url http://127.0.0.1:{port}",)


async def test_it_recognizes_another_web_server() -> None:
    page = Answer(body=b"<h1>Welcome to \x1b[31mnginx</h1>", headers={"server": "nginx"})
    async with gateway(lambda _: page) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert found["gateway"].state == FAILED
    assert found["gateway"].seen == "something else answers (200, nginx): <h1>Welcome to nginx</h1>"


async def test_it_follows_no_redirect_and_says_where_it_leads() -> None:
    moved = Answer(status=301, headers={"location": "https://new.example/v1/health"})
    async with gateway(lambda _: moved) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert found["gateway"].fix == ("export MCP_API_URL=https://new.example",)


async def test_it_reads_only_the_beginning_of_an_answer_without_an_end() -> None:
    async with gateway(lambda _: Answer(body=b"a" * 20_000_000)) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert len(found["gateway"].seen) < 200


async def test_it_says_that_the_key_is_not_taken() -> None:
    other = KEY[:-1] + "x"
    async with gateway(well) as port:
        found = await findings(f"http://127.0.0.1:{port}", other)
    assert found["key"].state == OK
    assert found["key taken"].seen == "it is not taken: There is no such key."
    assert "createapikey" in found["key taken"].fix[0]
    assert [found[step].state for step in ("scope", "WebSocket", "poll")] == [SKIPPED] * 3
    assert other not in str(found)


async def test_it_says_that_a_gateway_has_no_tunnel() -> None:
    async with gateway(
        lambda asked: Answer(status=404, body=b"") if "/api/" in asked.path else well(asked)
    ) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert "is not there" in found["key taken"].seen


@pytest.mark.parametrize(("off_s", "word"), [(300, "behind"), (-300, "ahead of")])
async def test_it_warns_of_a_clock_that_is_wrong(off_s: int, word: str) -> None:
    def answers(asked: Asked) -> Answer | None:
        found = well(asked)
        assert found is not None
        theirs = datetime.now(timezone.utc) + timedelta(seconds=off_s)
        return replace(found, headers=found.headers | {"date": format_datetime(theirs, True)})

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert found["clock"].state == WARNING
    assert word in found["clock"].seen
    assert "timedatectl" in found["clock"].fix[0]
    assert found["key taken"].state == OK


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("", "there is no API key"),
        ("sk-ant-api03-abc", "a key of Anthropic"),
        (KEY[:-3], "no key of an Ops-Center"),
    ],
)
async def test_it_looks_at_a_key_before_it_sends_it(key: str, seen: str) -> None:
    asked: list[Asked] = []

    def answers(one: Asked) -> Answer | None:
        asked.append(one)
        return well(one)

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}", key)
    assert seen in found["key"].seen
    assert found["key taken"].state == SKIPPED
    assert [one.path for one in asked] == ["/v1/health"]


@pytest.mark.parametrize(
    ("transport", "state", "then"),
    [("auto", WARNING, "polling will be used"), ("websocket", FAILED, "transport is websocket")],
)
async def test_it_says_what_a_refused_websocket_means(
    transport: str, state: str, then: str
) -> None:
    def answers(asked: Asked) -> Answer | None:
        return said(426, error="no upgrade") if "upgrade" in asked.headers else well(asked)

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}", transport=transport)
    assert found["WebSocket"].state == state
    assert "refused with 426" in found["WebSocket"].seen
    assert then in found["WebSocket"].seen


async def test_it_opens_no_websocket_when_polling_is_asked_for() -> None:
    asked: list[Asked] = []

    def answers(one: Asked) -> Answer | None:
        asked.append(one)
        return well(one)

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}", transport="polling")
    assert found["WebSocket"].seen.startswith("not used")
    assert not any("upgrade" in one.headers for one in asked)
    (poll,) = [one for one in asked if one.path == "/api/mcp/poll"]
    assert json.loads(poll.body)["frames"] == []  # no hello: it opens no session


async def test_it_says_that_posts_do_not_get_through() -> None:
    def answers(asked: Asked) -> Answer | None:
        return (
            Answer(status=502, body=b"<h1>Bad gateway") if asked.method == "POST" else well(asked)
        )

    async with gateway(answers) as port:
        found = await findings(f"http://127.0.0.1:{port}")
    assert found["poll"].state == FAILED
    assert "502: <h1>Bad gateway" in found["poll"].seen


async def test_it_looks_at_the_proxy_and_not_at_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[Asked] = []

    def answers(asked: Asked) -> Answer | None:
        refused.append(asked)
        return Answer(status=407, body=b"")

    async with gateway(answers) as port:
        monkeypatch.setenv("https_proxy", f"http://me:hush@127.0.0.1:{port}")
        found = await findings("https://gateway.invalid")
    assert found["proxy"].seen == f"through 127.0.0.1:{port}"
    assert found["port"].state == OK
    assert found["gateway"].state == FAILED
    assert "proxy" in found["gateway"].seen
    assert refused[0].method == "CONNECT"
    assert "hush" not in str(found)


async def test_it_says_that_the_state_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with gateway(well) as port:
        found = await findings(f"http://127.0.0.1:{port}", state_dir=str(tmp_path / "file/state"))
    assert found["state"].state == FAILED
    assert "--state-dir" in found["state"].fix[1]


async def test_it_goes_on_after_a_step_that_hangs() -> None:
    steps = [replace(step, within_s=0.2) if step.name == "gateway" else step for step in STEPS]
    async with gateway(lambda _: None) as port:
        environ = {"MCP_API_KEY": KEY, "XDG_STATE_HOME": str(Path.cwd())}
        loaded = config.load({"api_url": f"http://127.0.0.1:{port}"}, environ, io.StringIO())
        found = {one.step: one async for one in examine(steps, Patient(config=loaded))}
    assert found["gateway"].seen == "no answer within 0 s"
    assert found["state"].state == OK
