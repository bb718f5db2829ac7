"""A local server that is not there, or is none: why, and what to do."""

import socket
from pathlib import Path

import pytest

from tests import watched
from tests.watched import Start, over_http

start = watched.start

ANSWERS_WRONGLY = """
import json, sys
for line in sys.stdin:
    told = {"jsonrpc": "2.0", "id": json.loads(line).get("id"), "result": {"secret": "secret"}}
    print(json.dumps(told), flush=True)
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("echo", "hello"), "it ended, and answered no `initialize`: is it an MCP server? (--log"),
        (("cat",), "it answered `initialize` with 'Method not found': is it an MCP server? (--log"),
        (("sleep", "60"), "it did not answer `initialize` in time: is it an MCP server? (--log"),
        (("sh", "-c", "echo usage >&2"), "answered no `initialize`: is it an MCP server? (usage)"),
    ],
)
async def test_what_is_no_mcp_server_is_told_so(
    start: Start, command: tuple[str, ...], said: str
) -> None:
    server = await start(command=command[0], args=command[1:], start_timeout_s=0.5)
    failed = await server.until(lambda one: one.state == "failed")
    assert said in failed.error


async def test_an_http_server_that_is_down_is_named_without_what_may_be_secret(
    start: Start,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # and does not listen
        where = f"127.0.0.1:{probe.getsockname()[1]}"
        server = await start(url=f"http://joe:word@{where}/s/secret/mcp?key=secret")
        failed = await server.until(lambda one: one.state == "failed")
    assert failed.error == f"nothing listens at http://{where}: start it, or correct its url"


async def test_a_url_at_which_something_else_answers_is_named(start: Start, tmp_path: Path) -> None:
    with over_http(tmp_path / "notes") as (url, _, _):
        server = await start(url=f"{url}-not")
        where = url.removesuffix("/mcp")
        failed = await server.until(lambda one: "Not Found" in one.error)
    assert failed.error == f"Not Found; it was asked at {where}: is its url right?"


async def test_what_a_server_answers_wrongly_is_named_and_not_shown(start: Start) -> None:
    server = await start("-c", ANSWERS_WRONGLY)
    failed = await server.until(lambda one: one.state == "failed")
    assert "secret" not in failed.error
    assert "Field required" in failed.error
