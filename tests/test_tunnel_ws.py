"""A machine on a WebSocket: it is welcomed, takes calls, and its results arrive.

The tests ask for tools in their own process, which is to the gateway another one that never rings:
all of this works with the bell cut, by the look of every second.
"""

import asyncio
import uuid
from typing import Any

import pytest

from accounts.tests.people import Person
from mcp import calls, frames, tools
from mcp.models import Connector
from mcp.states import State
from mcp.threads import off_loop
from tests import tunnel
from tests.connector import READ, WRITE, about, files, machine, ready
from tests.gateway import Gateway
from tests.tunnel import principal_of, rows, run, until

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
UNKNOWN_ID = uuid.UUID(int=7)


async def test_it_welcomes_a_machine_with_what_it_must_know(server: Gateway, key: str) -> None:
    async with machine(server.url, key) as laptop:
        first = await laptop.hello(max_in_flight=7)
    async with machine(server.url, key, instance=laptop.instance) as laptop:
        second = await laptop.hello()
    assert (first.v, first.epoch, first.max_in_flight) == (1, 1, 7)
    assert (first.lease_ms, first.renew_ms) == (15_000, 5_000)
    assert (first.max_frame_bytes, first.max_result_bytes) == (2 * 1024**2, 1024**2)
    assert (second.connector, second.epoch) == (first.connector, 2)


async def test_it_offers_what_a_machine_announces(
    server: Gateway, key: str, alice: Person, bob: Person, charlie: Person
) -> None:
    async with ready(server.url, key):
        offered = await tools.offered(principal_of(alice))
        assert [(one.server, one.tool, one.has_effects) for one in offered] == [
            ("files", "read", False),
            ("files", "write", True),
        ]
        assert offered[0].input_schema == READ["inputSchema"]
        assert await tools.offered(principal_of(bob)) == []  # it is Alice's machine
        assert await tools.offered(principal_of(charlie)) == []


async def test_it_offers_nothing_of_a_machine_that_has_left(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        await laptop.say({"type": "bye"})
        assert await laptop.closed() == (1000, "Goodbye.")
    await until(lambda: nothing_offered(alice))
    with pytest.raises(tools.RefusedError, match=r"'laptop' .* is offline") as refused:
        await run(alice)
    assert refused.value.code == "offline"


async def test_it_forgets_servers_and_tools_that_are_gone(
    server: Gateway, key: str, alice: Person
) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.hello()
        await laptop.announce(files(), files(name="mail"))
        before = {(one.server, one.tool): one.digest for one in await offered(alice)}
        await laptop.announce(files(READ, WRITE | {"description": "Write it all."}))
        after = {(one.server, one.tool): one.digest for one in await offered(alice)}
    assert set(before) == {(of, tool) for of in ("files", "mail") for tool in ("read", "write")}
    assert set(after) == {("files", "read"), ("files", "write")}
    assert after["files", "read"] == before["files", "read"]
    assert after["files", "write"] != before["files", "write"]


async def nothing_offered(person: Person) -> bool:
    return not await offered(person)


async def offered(person: Person) -> list[tools.Offered]:
    return await tools.offered(principal_of(person))


async def test_it_runs_a_tool(server: Gateway, key: str, alice: Person) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        assert (call.server, call.method, call.has_effects) == ("files", "tools/call", False)
        assert bytes(call.params) == b'{"name":"read","arguments":{"path":"a"}}'
        assert 20_000 < call.remaining_ms <= 30_000
        assert await laptop.finish(call, "bread") == "accepted"
        assert await laptop.finish(call, "bread") == "duplicate"
        assert await laptop.finish(call, "cake") == "conflict"
        ended = await running
    assert (ended.state, ended.is_error) == (State.SUCCEEDED, False)
    assert ended.result == {"content": [{"type": "text", "text": "bread"}], "isError": False}


async def test_it_takes_a_result_of_the_largest_size(
    server: Gateway, key: str, alice: Person
) -> None:
    around = len('{"content": [{"type": "text", "text": ""}], "isError": false}')
    text = "ü" + "x" * (calls.MAX_RESULT_BYTES - around - len(r"\u00fc"))
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        assert await laptop.finish(call, text) == "accepted"
        assert (await running).result["content"][0]["text"] == text
        running = run(alice)
        call = await laptop.begin()
        assert await laptop.finish(call, text + "x") == "accepted"
        ended = await running
    assert (ended.state, ended.is_error) == (State.FAILED, True)
    assert "more than 1048576 bytes" in ended.result["content"][0]["text"]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"outcome": "error", "error": {"code": -32602, "message": "no such path"}}, "no such"),
        ({"outcome": "interrupted"}, "Outcome unknown"),
        ({"outcome": "cancelled"}, "stopped before it ended"),
    ],
)
async def test_it_says_how_a_tool_failed(
    server: Gateway, key: str, alice: Person, said: dict[str, Any], text: str
) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        await laptop.say(about("result", call, **said))
        assert (await laptop.hear_a(frames.Ack)).verdict == "accepted"
        ended = await running
    assert (ended.state, ended.is_error) == (State.FAILED, True)
    assert text in ended.result["content"][0]["text"]


async def test_it_passes_progress_on(server: Gateway, key: str, alice: Person) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with ready(server.url, key) as laptop:
        running = run(alice, told=told.put)
        call = await laptop.begin()
        await laptop.say(about("progress", call, progress=3, total=10, message="3 of 10"))
        heard = await asyncio.wait_for(told.get(), 10)
        await laptop.finish(call)
        await running
    assert heard == {"progress": 3, "total": 10, "message": "3 of 10"}


async def test_it_stops_a_tool_whose_caller_has_left(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        stop = await laptop.hear_a(frames.Cancel)
        assert (stop.id, stop.fence) == (call.id, call.fence)
        await laptop.say(about("result", call, outcome="cancelled"))
        assert (await laptop.hear_a(frames.Ack)).verdict == "accepted"
        await laptop.settled()  # it was told once, not each second
    assert [row.state for row in await rows()] == [State.CANCELLED]


async def test_it_never_begins_a_call_whose_caller_has_left(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.hear_a(frames.Call)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await laptop.say(about("start", call))
        frame = await laptop.hear()
        frame = await laptop.hear() if isinstance(frame, frames.Cancel) else frame
        assert isinstance(frame, frames.Denied)
        assert frame.reason == "it was cancelled"


async def test_it_hands_out_no_more_than_the_machine_takes_at_once(
    server: Gateway, key: str, alice: Person
) -> None:
    async with machine(server.url, key) as laptop:
        await laptop.hello(max_in_flight=2)
        await laptop.announce()
        running = [run(alice) for _ in range(5)]
        order = [await laptop.hear_a(frames.Call) for _ in range(2)]
        await laptop.settled()  # no third one came
        while order:
            call = order.pop(0)
            await laptop.say(about("start", call))
            await laptop.hear_a(frames.Started)
            assert await laptop.finish(call) == "accepted"
            if len(await rows(finished_at=None)) > len(order):
                order.append(await laptop.hear_a(frames.Call))
        assert [(await one).state for one in running] == [State.SUCCEEDED] * 5


async def test_it_hands_a_released_call_out_again(server: Gateway, key: str, alice: Person) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        first = await laptop.hear_a(frames.Call)
        await laptop.say(about("release", first, reason="the server is starting"))
        second = await laptop.begin()
        assert (second.id, second.fence) == (first.id, first.fence + 1)
        assert await laptop.finish(first) == "conflict"  # under the old fence
        assert await laptop.finish(second) == "accepted"
        assert (await running).state == State.SUCCEEDED


async def test_it_says_which_calls_are_still_the_machines(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        held = [[str(call.id), call.fence], [str(call.id), 9], [str(UNKNOWN_ID), 1]]
        await laptop.say({"type": "renew", "calls": held})
        renewed = await laptop.hear_a(frames.Renewed)
        assert renewed.held == [(call.id, call.fence)]
        assert renewed.lost == [(call.id, 9), (UNKNOWN_ID, 1)]
        await laptop.finish(call)
        await running


async def test_it_believes_no_other_tenants_machine(
    server: Gateway, key: str, charlies_key: str, alice: Person, charlie: Person
) -> None:
    async with (
        ready(server.url, key) as laptop,
        ready(server.url, charlies_key) as intruder,
    ):
        running = run(alice)
        call = await laptop.begin()
        assert await intruder.finish(call, "forged") == "unknown"
        await intruder.say(about("start", call))
        assert (await intruder.hear_a(frames.Denied)).reason == "there is no such call"
        await intruder.say(about("progress", call, progress=99))
        await intruder.say(about("release", call))
        await intruder.say({"type": "renew", "calls": [[str(call.id), call.fence]]})
        assert (await intruder.hear_a(frames.Renewed)).lost == [(call.id, call.fence)]
        assert await laptop.finish(call, "true") == "accepted"
        assert (await running).result["content"][0]["text"] == "true"
    assert [row.progress for row in await rows()] == [None]


async def test_it_says_at_once_that_a_queue_is_full(
    server: Gateway, key: str, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.enqueueing.MAX_QUEUED", 1)
    async with ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        with pytest.raises(tools.RefusedError, match="queue of this machine is full") as refused:
            await run(alice)
        assert refused.value.code == "queue_full"
        await laptop.finish(call)
        await running


async def test_it_gives_a_call_to_the_machine_that_came_last(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as desktop, ready(server.url, key) as laptop:
        running = run(alice)
        call = await laptop.begin()
        await laptop.finish(call, "laptop")
        assert (await running).result["content"][0]["text"] == "laptop"
        await laptop.say({"type": "bye"})
        await laptop.closed()
        await until(lambda: one_left(alice))
        running = run(alice)
        call = await desktop.begin()
        await desktop.finish(call, "desktop")
        assert (await running).result["content"][0]["text"] == "desktop"


@off_loop
def one_left(person: Person) -> bool:
    return Connector.objects.filter(user=person.user, closed_at__isnull=True).count() == 1
