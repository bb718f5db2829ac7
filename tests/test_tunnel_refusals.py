"""What a machine may not say or do: each time a documented code, one line in the log, no harm."""

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from accounts.principal import MESSAGES
from accounts.tests.people import Person
from mcp import frames, tools
from mcp.states import HELD
from mcp.threads import off_loop
from tests import tunnel
from tests.connector import READ, files, machine, ready
from tests.gateway import Gateway
from tests.tunnel import principal_of, rows, run, until

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
SOME_ID = "0193d0f2-2f6c-7cc0-9f6e-2b1d7a3c4e55"
MEMORY_MB = 40  # what a flood may cost


async def refused(url: str, key: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """The answer instead of a handshake."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with machine(url, key, **more):
            pass
    response = caught.value.response
    body = json.loads(response.body or b"")
    assert body["type"] == "error"
    return response.status_code, body["error"]


async def test_it_lets_only_keys_in(server: Gateway, key: str) -> None:
    assert (await refused(server.url, ""))[0] == 401
    status, error = await refused(server.url, key[:-1] + "!")
    assert (status, error["type"]) == (401, "authentication_error")
    async with machine(server.url, "", headers={"x-api-key": key}) as laptop:
        await laptop.hello()


async def test_it_lets_no_key_without_the_scope_in(server: Gateway, alice: Person) -> None:
    issue = off_loop(alice.key)
    _, plain = await issue("reader", [MESSAGES])
    status, error = await refused(server.url, plain)
    assert (status, error["type"]) == (403, "permission_error")
    assert "mcp-callback" in error["message"]


async def test_it_lets_nobody_in_at_anothers_path(
    server: Gateway, key: str, alice: Person, charlie: Person
) -> None:
    async with machine(server.url, key, user=alice.user.id) as laptop:
        await laptop.hello()
    begin = server.log.stat().st_size
    for user in (charlie.user.id, 0, "alice", f"0{alice.user.id}", "me%20"):
        status, error = await refused(server.url, key, user=user)
        assert (status, error["type"]) == (403, "permission_error"), user
    assert " ERROR " not in server.log.read_text()[begin:], "nothing is wrong with the gateway"


async def test_it_lets_no_browser_in(server: Gateway, key: str) -> None:
    status, error = await refused(server.url, key, headers={"Origin": server.url})
    assert (status, error["type"]) == (403, "permission_error")


async def test_it_never_looks_at_a_key_in_the_query_string(server: Gateway, key: str) -> None:
    address = server.url.replace("http", "ws", 1)
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connect(f"{address}/api/mcp/ws/me?api_key={key}&token={key}", proxy=None):
            pass
    assert caught.value.response.status_code == 401
    assert key not in server.log.read_text()


async def test_it_has_no_other_socket(server: Gateway, key: str) -> None:
    for path in ("/api/mcp/ws/", "/", "/v1/messages", "/api/mcp/ws/me/more"):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with connect(f"{server.url.replace('http', 'ws', 1)}{path}", proxy=None):
                pass
        assert caught.value.response.status_code == 404, path


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_it_says_how_a_socket_is_opened_to_who_asks_for_none(
    server: Gateway, method: str
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, f"{server.url}/api/mcp/ws/me")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.headers["connection"] == "Upgrade"
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "ops-connector" in error["message"]


@pytest.mark.parametrize(
    ("said", "code", "named"),
    [
        ("{", 4400, "truncated"),
        ("[]", 4400, "object"),
        ('{"type":"nope"}', 4400, "$.type"),
        ('{"type":"welcome"}', 4400, "$.type"),
        ('{"type":"ready","servers":["a b"]}', 4400, "$.servers[0]"),
        ('{"type":"start","id":"secret-value","fence":1}', 4400, "$.id"),
        (f'{{"type":"start","id":"{SOME_ID}","fence":0}}', 4400, "$.fence"),
        (
            f'{{"type":"result","id":"{SOME_ID}","fence":1,"outcome":"done"}}',
            4400,
            "needs `result`",
        ),
        (f'{{"type":"hello","v":1,"instance":"{SOME_ID}","name":"again"}}', 4400, "once"),
        (b'{"type":"renew","calls":[]}', 4400, "text message"),
        (json.dumps(files(transport="pigeon")), 4400, "$.server.transport"),
    ],
)
async def test_it_closes_on_what_is_no_frame_and_names_the_field(
    server: Gateway, key: str, said: str | bytes, code: int, named: str
) -> None:
    begin = server.log.stat().st_size
    async with ready(server.url, key) as laptop:
        await laptop.socket.send(said)
        closed, reason = await laptop.closed()
    assert closed == code
    assert named in reason
    logged = server.log.read_text()[begin:]
    assert logged.count(f"closed with {code}") == 1
    assert "secret-value" not in logged


async def test_it_speaks_one_version(server: Gateway, key: str) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.say({"type": "hello", "v": 2, "instance": SOME_ID, "name": "laptop"})
        assert await laptop.closed() == (4406, "This gateway speaks version 1.")


async def test_it_wants_a_hello_first(server: Gateway, key: str) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.say({"type": "renew", "calls": []})
        assert await laptop.closed() == (4400, "The first frame must be a hello.")


async def test_it_waits_ten_seconds_for_a_hello(server: Gateway, key: str) -> None:
    async with machine(server.url, key) as laptop:
        assert await laptop.closed() == (4408, "No hello within 10 seconds.")


async def test_it_leaves_out_what_is_no_tool_and_keeps_the_rest(
    server: Gateway, key: str, alice: Person
) -> None:
    bad: list[dict[str, Any]] = [
        {"name": "no schema"},
        {"name": "wrong", "inputSchema": {"type": "array"}},
        {"name": "far", "inputSchema": {"type": "object", "$ref": "https://evil.example/s"}},
        READ,  # a second one
    ]
    async with machine(server.url, key) as laptop:
        await laptop.hello()
        await laptop.say(files(READ, *bad))
        heard = [await laptop.hear_a(frames.Refused) for _ in bad]
        assert {(one.what, one.name) for one in heard} == {("server", "files")}
        assert [one.field for one in heard] == [
            "tools[1].name",
            "tools[2].inputSchema",
            "tools[3].inputSchema.$ref",
            "tools[4].name",
        ]
        await laptop.settled()
        assert [one.tool for one in await tools.offered(principal_of(alice))] == ["read"]


async def test_it_believes_no_hint_that_is_not_plain(
    server: Gateway, key: str, alice: Person
) -> None:
    sly = READ | {"annotations": {"readOnlyHint": "yes", "idempotentHint": 1}}
    async with machine(server.url, key) as laptop:
        await laptop.hello()
        await laptop.announce(files(sly))
        assert [one.has_effects for one in await tools.offered(principal_of(alice))] == [True]


async def test_it_takes_no_frame_of_200_megabytes(server: Gateway, key: str) -> None:
    before = server.resident_mb
    async with ready(server.url, key) as laptop:
        with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
            await laptop.socket.send("\0" * 200_000_000)
        assert (await laptop.closed())[0] in {1009, 1006}
    assert server.resident_mb - before < MEMORY_MB
    await still_works(server, key)


async def test_it_inflates_nothing(server: Gateway, key: str) -> None:
    async with connect(
        f"{server.url.replace('http', 'ws', 1)}/api/mcp/ws/me",
        additional_headers={"x-api-key": key},
        compression="deflate",
        proxy=None,
    ) as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers  # type: ignore[union-attr]


async def test_it_closes_on_a_flood_of_tiny_frames(server: Gateway, key: str) -> None:
    before = server.resident_mb
    async with ready(server.url, key) as laptop:

        async def flood() -> None:
            with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
                for number in range(1_000_000):
                    await laptop.socket.send('{"type":"renew","calls":[]}')
                    if number % 100 == 0:
                        await asyncio.sleep(0)  # sending alone would never let us hear

        flooding = asyncio.create_task(flood())
        code, _ = await laptop.closed()
        await flooding
    assert code == 4429
    assert server.resident_mb - before < MEMORY_MB
    await still_works(server, key)


async def test_who_floods_on_is_not_cut_before_it_can_hear_why(server: Gateway, key: str) -> None:
    async with ready(server.url, key) as laptop:
        raw = laptop.socket.transport
        ping = b"\x89\x80\0\0\0\0" * 1000
        for _ in range(10):  # more than FRAMES_AT_ONCE, and some after the end
            raw.write(ping)
            await asyncio.sleep(0.02)
            assert not raw.is_closing()
        assert (await laptop.closed())[0] == 4429


async def still_works(server: Gateway, key: str) -> None:
    """Others are not affected."""
    async with ready(server.url, key) as laptop:
        await laptop.settled()


async def test_it_bounds_what_a_machine_that_reads_nothing_can_hold(
    server: Gateway, key: str, alice: Person
) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.hello(max_in_flight=16)
        await laptop.announce()
        laptop.socket.transport.pause_reading()
        large = {"path": "x" * 1_000_000}
        running = [run(alice, arguments=large) for _ in range(16)]
        await until(lambda: rows(state__in=HELD))  # a tool without effects runs once it is sent
        await still_works(server, key)
        # A batch, and what fits into the sockets: the rest waits in the queue, not in memory.
        assert len(await rows(state__in=HELD)) <= 12
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        laptop.socket.transport.resume_reading()
