"""A gateway may be anybody's, and so may be what stands in between (the cases C01 to C12)."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from opscenter_connector import frames, happenings
from tests import gateways
from tests.conftest import HERE, Connector
from tests.gateway import KEY as TAKEN
from tests.gateway import Gateway
from tests.gateways import KEY, Answer, Asked
from tests.rows import WITHIN_S
from tests.test_running import environ

Start = Callable[..., Connector]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_c04_the_key_goes_nowhere_but_to_the_address_that_was_given(
    start: Start, transport: str, status: int
) -> None:
    taken: list[Asked] = []

    def other(asked: Asked) -> Answer | None:
        taken.append(asked)
        return gateways.well(asked)

    async with gateways.gateway(other) as elsewhere:
        to = {"location": f"http://127.0.0.1:{elsewhere}/api/mcp/poll"}
        async with gateways.gateway(lambda _: Answer(status=status, headers=to)) as port:
            connector = start(transport, api_url=f"http://127.0.0.1:{port}", api_key=KEY)
            await connector.heard(happenings.Waiting)
            await connector.heard(happenings.Connecting, lambda it: it.attempt > 1)
            await connector.kill()
    assert taken == []


@pytest.mark.parametrize("answer", [gateways.said(401, detail=f"no: {KEY}"), Answer(status=500)])
async def test_c02_no_line_has_the_key(tmp_path: Path, answer: Answer) -> None:
    async with gateways.gateway(lambda _: answer) as port:
        argv = ["--api-url", f"http://127.0.0.1:{port}", "--log-level", "debug"]
        process = await _started(tmp_path, *argv, MCP_API_KEY=KEY)
        assert process.stderr is not None
        said = b""
        with anyio.fail_after(WITHIN_S):
            while b'"lost"' not in said:
                said += await process.stderr.readline()
        process.kill()
        said += await process.stderr.read()
        await process.wait()
    assert KEY[18:].encode() not in said
    assert b"sk-uc-0" not in said


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
async def test_c07_nothing_that_it_started_outlives_it(gateway: Gateway, tmp_path: Path) -> None:
    config = tmp_path / "servers.json"
    echo: dict[str, Any] = {
        "command": sys.executable,
        "args": ["-m", "tests.legacy_server"],
        "cwd": str(HERE.parent),
    }
    echo["env"] = {"ECHO_NOTES": str(tmp_path / "notes")}
    config.write_text(json.dumps({"mcpServers": {"echo": echo}}))
    argv = ["--api-url", gateway.url, "--mcp-config", str(config)]
    process = await _started(tmp_path, *argv, MCP_API_KEY=TAKEN)
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a")
    await gateway.until(lambda: call.state == "running" and call.progress)
    children = _children(process.pid)
    assert children
    process.kill()
    await process.wait()
    with anyio.fail_after(WITHIN_S):
        while not all(map(_is_over, children)):  # noqa: ASYNC110 - others' processes have no event
            await asyncio.sleep(0.05)


async def test_c08_however_many_calls_come_only_so_many_run(gateway: Gateway, start: Start) -> None:
    connector = start(max_in_flight=3)
    gateway.max_in_flight = 64  # it welcomes with more, and hands out all at once
    await gateway.serving()
    calls = [gateway.submit("wait", seconds=0.4, word=f"w{n}") for n in range(100)]
    await gateway.until(lambda: [call.state for call in calls].count("released") == 97)
    await gateway.until(lambda: [call.state for call in calls].count("ended") == 3)
    started = [one for one in connector.told if isinstance(one, happenings.CallStarted)]
    assert len(started) == 3


async def test_what_a_gateway_says_of_questions_that_nobody_asked_is_nothing(
    gateway: Gateway, start: Start
) -> None:
    start()
    await gateway.serving()
    digest = "0" * 64
    gateway.news_of_questions += [
        frames.Settled(id="x", digest=digest, state="approved"),
        frames.Asked(id="x", fence=1, remaining_ms=1),
        frames.Settled(id="y", digest=digest, state="\x1b[2J"),
    ]
    gateway.changed()
    assert (await gateway.ended(gateway.submit("count", word="a"))).outcome == "done"


async def _started(folder: Path, *argv: str, **more: str) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "opscenter_connector.cli",
        "run",
        "--log-format",
        "json",
        *argv,
        cwd=folder,
        env=environ(folder, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(one) for one in (task / "children").read_text().split()]
    return found


def _is_over(pid: int) -> bool:
    """It has ended, and only whoever adopted it has not noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
