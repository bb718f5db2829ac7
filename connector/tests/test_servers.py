"""Local servers that are real: written with the SDK and by hand, over pipes and over HTTP."""

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from opscenter_connector.happenings import ServerBabbled, ServerSaid
from opscenter_connector.logs import TextLog, taken_over
from opscenter_connector.servers import (
    LostError,
    NotRunningError,
    Servers,
    fitting_tools,
)
from opscenter_connector.telling import Teller
from tests import watched
from tests.watched import ECHO, HERE, LEGACY, WITHIN_S, Start, over_http

start = watched.start


def text(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


async def test_it_lists_and_calls_over_pipes(start: Start) -> None:
    server = await start(*ECHO)
    ready = await server.until(lambda one: one.state == "ready")
    assert (ready.title, ready.version, ready.era) == ("Echo", "1.0", "2026-07-28")
    say = next(tool for tool in ready.tools if tool["name"] == "say")
    assert say["annotations"] == {"readOnlyHint": True}
    assert say["inputSchema"]["required"] == ["text"]
    assert text(await server.call("say", text="bread for Zoë")) == "bread for Zoë"


async def test_it_lists_and_calls_over_http(start: Start, tmp_path: Path) -> None:
    with over_http(tmp_path / "notes") as (url, _, _):
        server = await start(url=url)
        ready = await server.until(lambda one: one.state == "ready")
        assert (ready.transport, ready.era) == ("http", "2026-07-28")
        assert text(await server.call("say", text="bread")) == "bread"


async def test_it_speaks_the_older_revisions_and_reads_every_page(start: Start) -> None:
    server = await start(*LEGACY)
    ready = await server.until(lambda one: one.state == "ready")
    assert (ready.title, ready.version, ready.era) == ("legacy", "0.9", "2025-06-18")
    named = [tool["name"] for tool in ready.tools]
    assert named == ["say", "count", "wait", "large", "crash", "learn", "reword"]


async def test_it_keeps_what_it_does_not_understand_in_a_result(start: Start) -> None:
    server = await start(*LEGACY)
    assert (await server.call("say"))["future"] == {"kept": True}


@pytest.mark.parametrize("argv", [ECHO, LEGACY])
async def test_it_lists_again_when_the_tools_change(start: Start, argv: tuple[str, ...]) -> None:
    server = await start(*argv)
    before = await server.until(lambda one: one.state == "ready")
    await server.call("learn", word="sing")
    after = await server.until(lambda one: len(one.tools) == len(before.tools) + 1)
    assert after.tools[-1]["name"] == "sing"


async def test_a_call_that_is_cancelled_is_cancelled_there(start: Start) -> None:
    server = await start(*ECHO)
    await server.until(lambda one: one.state == "ready")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: server.call("wait", seconds=60, word="a"))
            await server.noted("began a")
            scope.cancel()
    await server.noted("cancelled a")


async def test_a_call_that_is_cancelled_is_cancelled_there_over_http(
    start: Start, tmp_path: Path
) -> None:
    with over_http(tmp_path / "notes") as (url, _, _):
        server = await start(url=url)
        await server.until(lambda one: one.state == "ready")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: server.call("wait", seconds=60, word="a"))
                await server.noted("began a")
                scope.cancel()
        await server.noted("cancelled a")


async def test_an_older_server_is_told_of_a_cancellation(start: Start) -> None:
    server = await start(*LEGACY)
    await server.until(lambda one: one.state == "ready")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: server.call("wait", seconds=60, word="a"))
            await server.noted("began a")
            scope.cancel()
    await server.noted("cancelled a")


async def test_progress_is_passed_on(start: Start) -> None:
    server = await start(*ECHO)
    steps: list[Any] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    params = {"name": "wait", "arguments": {"seconds": 0.2, "word": "a"}}
    await server.server.call(params, progressed, start_within_s=WITHIN_S)
    assert steps == [(n, 10, f"{n} of 10") for n in range(1, 11)]


async def test_progress_that_is_no_number_is_passed_over(start: Start) -> None:
    server = await start(*LEGACY)
    steps: list[Any] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    params = {"name": "babble", "arguments": {"word": "a"}}
    result = await server.server.call(params, progressed, start_within_s=WITHIN_S)
    assert (text(result), steps) == ("a", [])
    assert "failed" not in [one.state for one in server.announced]


async def test_a_tool_that_fails_says_so_in_its_result(start: Start) -> None:
    server = await start(*ECHO)
    result = await server.call("fail", why="no flour")
    assert result["isError"] is True
    assert text(result) == "Error executing tool fail"


async def test_an_error_of_the_server_is_passed_on(start: Start) -> None:
    server = await start(*LEGACY)
    with pytest.raises(MCPError) as raised:
        await server.call("sing")
    assert (raised.value.code, raised.value.message) == (-32602, "no such tool")


async def test_a_server_that_crashes_is_started_again(start: Start) -> None:
    server = await start(*ECHO)
    with pytest.raises(LostError):
        await server.call("crash", word="a")
    failed = await server.until(lambda one: one.state == "failed")
    assert "out of luck" in failed.error
    assert ServerSaid(server="echo", line="out of luck") in server.told
    server.announced.clear()
    await server.until(lambda one: one.state == "ready")
    assert text(await server.call("say", text="again")) == "again"
    assert server.notes.read_text().count("crash a") == 1


async def test_lines_that_are_no_mcp_are_counted_and_not_told(start: Start) -> None:
    stream = io.StringIO()
    teller = Teller(TextLog(stream), "debug")
    program = (
        f"for i in $(seq 12); do echo secret; done; exec {sys.executable} -m tests.legacy_server"
    )
    with taken_over(teller, "debug"):
        server = await start(command="sh", args=("-c", program), cwd=HERE.parent)
        await server.until(lambda one: one.state == "ready")
        assert text(await server.call("say", word="a")) == "a"
    teller.close()
    counted = [told for told in server.told if isinstance(told, ServerBabbled)]
    assert counted == [ServerBabbled(server="echo", lines=lines) for lines in (1, 10)]
    assert "secret" not in stream.getvalue() + str(server.told)


async def test_a_server_that_does_not_start_says_why(start: Start) -> None:
    server = await start(*ECHO, "--refuse")
    failed = await server.until(lambda one: one.state == "failed")
    assert "no licence" in failed.error
    await server.until(lambda one: one.state == "starting")


async def test_a_command_that_is_not_there_is_named(start: Start) -> None:
    server = await start(command="/nowhere/at-all")
    failed = await server.until(lambda one: one.state == "failed")
    assert failed.error == "/nowhere/at-all is not there: is it installed, and in PATH?"
    with pytest.raises(NotRunningError, match="/nowhere/at-all is not there"):
        while True:  # it may be starting again just now
            await server.call("say")


async def test_an_http_server_that_goes_away_is_reached_again(start: Start, tmp_path: Path) -> None:
    with over_http(tmp_path / "notes") as (url, port, process):
        server = await start(url=url)
        await server.until(lambda one: one.state == "ready")
        process.kill()
        process.wait()
        with pytest.raises((LostError, NotRunningError)):
            await server.call("say", text="a")
        await server.until(lambda one: one.state == "failed")
        server.announced.clear()
        with over_http(tmp_path / "notes", port):
            await server.until(lambda one: one.state == "ready")
            assert text(await server.call("say", text="a")) == "a"


async def test_keeping_none_ends_no_more_than_keeping_some() -> None:
    with anyio.move_on_after(0.1) as patience:
        await Servers(()).run()
    assert patience.cancelled_caught


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.02, 0.03])
async def test_it_stops_also_while_its_server_goes_away(
    start: Start, tmp_path: Path, after_s: float
) -> None:
    with over_http(tmp_path / "notes") as (url, _, process):
        server = await start(url=url)
        await server.until(lambda one: one.state == "ready")
        await asyncio.sleep(after_s)  # it asks about the tools just now
        process.kill()
        process.wait()
        server.servers.stop()  # and `start` waits until it has stopped


def test_tools_that_do_not_fit_are_left_out() -> None:
    small = {"name": "small", "inputSchema": {"type": "object"}}
    huge = {"name": "huge", "description": "x" * 70_000, "inputSchema": {"type": "object"}}
    tools, error = fitting_tools([huge, *(small | {"name": f"t{n}"} for n in range(600))])
    assert len(tools) == 512
    assert "89 tools" in error
