"""Local servers that are real: written with the SDK and by hand, over pipes and over HTTP."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from opscenter_connector import backoff
from opscenter_connector.frames import Announced
from opscenter_connector.happenings import ServerSaid
from opscenter_connector.servers import (
    LostError,
    NotRunningError,
    Servers,
    fitting_tools,
)
from opscenter_connector.settings import ServerSpec

HERE = Path(__file__).parent
WITHIN_S = 20.0


async def ignored(progress: float, total: float | None, message: str | None) -> None:
    pass


class Watched:
    """A local server that runs, and what it has announced."""

    def __init__(self, spec: ServerSpec, notes: Path) -> None:
        self.told: list[Any] = []
        self.announced: list[Announced] = []
        self._news = asyncio.Event()
        self.notes = notes
        self.servers = Servers([spec], self._announce, self.told.append)
        self.server = self.servers.get(spec.name)

    def _announce(self, announced: Announced) -> None:
        self.announced.append(announced)
        self._news.set()

    async def until(self, fits: Callable[[Announced], bool]) -> Announced:
        with anyio.fail_after(WITHIN_S):
            while not (fitting := [one for one in self.announced if fits(one)]):
                self._news.clear()
                await self._news.wait()
        return fitting[-1]

    async def call(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        params = {"name": name, "arguments": arguments}
        return await self.server.call(params, ignored, start_within_s=WITHIN_S)

    async def noted(self, line: str) -> None:
        """Wait until the server has written that down."""
        with anyio.fail_after(WITHIN_S):
            while line not in (  # noqa: ASYNC110 - another process's file has no event
                self.notes.read_text() if self.notes.exists() else ""
            ).split("\n"):
                await asyncio.sleep(0.02)


Start = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setattr(backoff, "FIRST_S", 0.05)
    monkeypatch.setattr(backoff, "MOST_S", 0.5)
    kept: list[Servers] = []
    tasks: list[asyncio.Task[None]] = []

    async def started(*argv: str, **spec: Any) -> Watched:
        notes = tmp_path / "notes"
        if argv:
            spec |= {"command": sys.executable, "args": argv, "cwd": HERE.parent}
        watched = Watched(ServerSpec(name="echo", env={"ECHO_NOTES": str(notes)}, **spec), notes)
        kept.append(watched.servers)
        tasks.append(asyncio.create_task(watched.servers.run()))
        return watched

    yield started
    for servers in kept:
        servers.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), WITHIN_S)


ECHO = ("-m", "tests.echo_server")
LEGACY = ("-m", "tests.legacy_server")


@contextmanager
def over_http(notes: Path, port: int = 0) -> Iterator[tuple[str, int, "Popen[bytes]"]]:
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    process = Popen(
        [sys.executable, *ECHO, "--http", str(port)],
        cwd=HERE.parent,
        env={"ECHO_NOTES": str(notes), "PATH": ""},
        stderr=-3,
    )
    try:
        yield f"http://127.0.0.1:{port}/mcp", port, process
    finally:
        process.kill()
        process.wait()


def text(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


async def test_it_lists_and_calls_over_pipes(start: Start) -> None:
    watched = await start(*ECHO)
    ready = await watched.until(lambda one: one.state == "ready")
    assert (ready.title, ready.version, ready.era) == ("Echo", "1.0", "2026-07-28")
    say = next(tool for tool in ready.tools if tool["name"] == "say")
    assert say["annotations"] == {"readOnlyHint": True}
    assert say["inputSchema"]["required"] == ["text"]
    assert text(await watched.call("say", text="bread for Zoë")) == "bread for Zoë"


async def test_it_lists_and_calls_over_http(start: Start, tmp_path: Path) -> None:
    with over_http(tmp_path / "notes") as (url, _, _):
        watched = await start(url=url)
        ready = await watched.until(lambda one: one.state == "ready")
        assert (ready.transport, ready.era) == ("http", "2026-07-28")
        assert text(await watched.call("say", text="bread")) == "bread"


async def test_it_speaks_the_older_revisions_and_reads_every_page(start: Start) -> None:
    watched = await start(*LEGACY)
    ready = await watched.until(lambda one: one.state == "ready")
    assert (ready.title, ready.version, ready.era) == ("legacy", "0.9", "2025-06-18")
    named = [tool["name"] for tool in ready.tools]
    assert named == ["say", "count", "wait", "large", "crash", "learn"]


async def test_it_keeps_what_it_does_not_understand_in_a_result(start: Start) -> None:
    watched = await start(*LEGACY)
    assert (await watched.call("say"))["future"] == {"kept": True}


@pytest.mark.parametrize("argv", [ECHO, LEGACY])
async def test_it_lists_again_when_the_tools_change(start: Start, argv: tuple[str, ...]) -> None:
    watched = await start(*argv)
    before = await watched.until(lambda one: one.state == "ready")
    await watched.call("learn", word="sing")
    after = await watched.until(lambda one: len(one.tools) == len(before.tools) + 1)
    assert after.tools[-1]["name"] == "sing"


async def test_a_call_that_is_cancelled_is_cancelled_there(start: Start) -> None:
    watched = await start(*ECHO)
    await watched.until(lambda one: one.state == "ready")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: watched.call("wait", seconds=60, word="a"))
            await watched.noted("began a")
            scope.cancel()
    await watched.noted("cancelled a")


async def test_a_call_that_is_cancelled_is_cancelled_there_over_http(
    start: Start, tmp_path: Path
) -> None:
    with over_http(tmp_path / "notes") as (url, _, _):
        watched = await start(url=url)
        await watched.until(lambda one: one.state == "ready")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: watched.call("wait", seconds=60, word="a"))
                await watched.noted("began a")
                scope.cancel()
        await watched.noted("cancelled a")


async def test_an_older_server_is_told_of_a_cancellation(start: Start) -> None:
    watched = await start(*LEGACY)
    await watched.until(lambda one: one.state == "ready")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: watched.call("wait", seconds=60, word="a"))
            await watched.noted("began a")
            scope.cancel()
    await watched.noted("cancelled a")


async def test_progress_is_passed_on(start: Start) -> None:
    watched = await start(*ECHO)
    steps: list[Any] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    params = {"name": "wait", "arguments": {"seconds": 0.2, "word": "a"}}
    await watched.server.call(params, progressed, start_within_s=WITHIN_S)
    assert steps == [(n, 10, f"{n} of 10") for n in range(1, 11)]


async def test_a_tool_that_fails_says_so_in_its_result(start: Start) -> None:
    watched = await start(*ECHO)
    result = await watched.call("fail", why="no flour")
    assert result["isError"] is True
    assert text(result) == "Error executing tool fail"


async def test_an_error_of_the_server_is_passed_on(start: Start) -> None:
    watched = await start(*LEGACY)
    with pytest.raises(MCPError) as raised:
        await watched.call("sing")
    assert (raised.value.code, raised.value.message) == (-32602, "no such tool")


async def test_a_server_that_crashes_is_started_again(start: Start) -> None:
    watched = await start(*ECHO)
    with pytest.raises(LostError):
        await watched.call("crash", word="a")
    failed = await watched.until(lambda one: one.state == "failed")
    assert "out of luck" in failed.error
    assert ServerSaid(server="echo", line="out of luck") in watched.told
    watched.announced.clear()
    await watched.until(lambda one: one.state == "ready")
    assert text(await watched.call("say", text="again")) == "again"
    assert watched.notes.read_text().count("crash a") == 1


async def test_a_server_that_does_not_start_says_why(start: Start) -> None:
    watched = await start(*ECHO, "--refuse")
    failed = await watched.until(lambda one: one.state == "failed")
    assert "no licence" in failed.error
    await watched.until(lambda one: one.state == "starting")


async def test_a_command_that_is_not_there_is_named(start: Start) -> None:
    watched = await start(command="/nowhere/at-all")
    failed = await watched.until(lambda one: one.state == "failed")
    assert failed.error == "/nowhere/at-all is not there: is it installed, and in PATH?"
    with pytest.raises(NotRunningError, match="/nowhere/at-all is not there"):
        while True:  # it may be starting again just now
            await watched.call("say")


async def test_an_http_server_that_goes_away_is_reached_again(start: Start, tmp_path: Path) -> None:
    with over_http(tmp_path / "notes") as (url, port, process):
        watched = await start(url=url)
        await watched.until(lambda one: one.state == "ready")
        process.kill()
        process.wait()
        with pytest.raises((LostError, NotRunningError)):
            await watched.call("say", text="a")
        await watched.until(lambda one: one.state == "failed")
        watched.announced.clear()
        with over_http(tmp_path / "notes", port):
            await watched.until(lambda one: one.state == "ready")
            assert text(await watched.call("say", text="a")) == "a"


async def test_keeping_none_ends_no_more_than_keeping_some() -> None:
    with anyio.move_on_after(0.1) as patience:
        await Servers((), lambda _: None, lambda _: None).run()
    assert patience.cancelled_caught


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.02, 0.03])
async def test_it_stops_also_while_its_server_goes_away(
    start: Start, tmp_path: Path, after_s: float
) -> None:
    with over_http(tmp_path / "notes") as (url, _, process):
        watched = await start(url=url)
        await watched.until(lambda one: one.state == "ready")
        await asyncio.sleep(after_s)  # it asks about the tools just now
        process.kill()
        process.wait()
        watched.servers.stop()  # and `start` waits until it has stopped


def test_tools_that_do_not_fit_are_left_out() -> None:
    small = {"name": "small", "inputSchema": {"type": "object"}}
    huge = {"name": "huge", "description": "x" * 70_000, "inputSchema": {"type": "object"}}
    tools, error = fitting_tools([huge, *(small | {"name": f"t{n}"} for n in range(600))])
    assert len(tools) == 512
    assert "89 tools" in error
