"""What breaks: sessions that are overtaken, gateways that are killed or stop, keys that end."""

import asyncio
import signal
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from accounts.tests.people import Person
from mcp import bell, frames
from mcp.models import Connector
from mcp.states import State
from mcp.threads import off_loop
from tests import gateway as gateways
from tests import tunnel
from tests.connector import about, machine, ready
from tests.gateway import Gateway
from tests.tunnel import rows, run, until

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")
HELD_S = 5.0  # a revocation holds by then
SLACK_S = 1.0  # a look on a loaded machine


@pytest.fixture
def another(key: str, tmp_path: Path) -> Iterator[Gateway]:
    """A second gateway on the same database, to be killed or stopped."""
    log = tmp_path / "gateway.log"
    with gateways.running(log) as (url, process):
        yield Gateway(url=url, key=key, process=process, log=log)
    assert "Traceback" not in log.read_text()


async def test_it_lets_the_newer_session_end_the_older(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as older:
        running = run(alice)
        call = await older.begin()
        async with machine(server.url, key, instance=older.instance) as newer:
            await newer.hello()
            assert (await older.closed())[0] == 4409
            # What was begun over the one is renewed and finished over the other.
            await newer.say({"type": "renew", "calls": [[str(call.id), call.fence]]})
            assert (await newer.hear_a(frames.Renewed)).held == [(call.id, call.fence)]
            assert await newer.finish(call, "late") == "accepted"
            ended = await running
    assert ended.result["content"][0]["text"] == "late"
    assert [row.starts for row in await rows()] == [1]


async def test_it_lets_a_session_at_another_gateway_end_the_older(
    server: Gateway, another: Gateway, key: str, alice: Person
) -> None:
    async with (
        ready(server.url, key) as older,
        machine(another.url, key, instance=older.instance) as newer,
    ):
        await newer.hello()
        assert (await older.closed())[0] == 4409
        running = run(alice)
        call = await newer.begin()
        assert await newer.finish(call) == "accepted"
        assert (await running).state == State.SUCCEEDED


async def test_it_starts_nothing_for_an_older_session(
    server: Gateway, another: Gateway, key: str, alice: Person
) -> None:
    async with (
        ready(server.url, key) as older,
        machine(another.url, key, instance=older.instance) as newer,
    ):
        running = run(alice)
        call = await older.hear_a(frames.Call)
        await newer.hello()
        await older.say(about("start", call))
        assert (await older.closed())[0] == 4409
        await newer.say(about("start", call))
        await newer.hear_a(frames.Started)
        assert await newer.finish(call) == "accepted"
        await running
    assert [row.starts for row in await rows()] == [1]


async def test_it_takes_a_result_after_the_gateway_was_killed(
    server: Gateway, another: Gateway, key: str, alice: Person
) -> None:
    async with ready(another.url, key) as laptop:
        running = run(alice, tool="write")
        call = await laptop.begin()
        another.process.kill()
        assert (await laptop.closed())[0] == 1006
    async with machine(server.url, key, instance=laptop.instance) as laptop:
        await laptop.hello()
        assert await laptop.finish(call, "survived") == "accepted"
        ended = await running
    assert ended.result["content"][0]["text"] == "survived"
    assert [(row.starts, row.state) for row in await rows()] == [(1, State.SUCCEEDED)]


async def test_it_goes_on_for_whoever_asked_again_with_the_same_ids(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        ids = {"request_id": "one", "tool_use_id": "use"}
        first = run(alice, tool="write", **ids)
        call = await laptop.begin()
        again = run(alice, tool="write", **ids)
        await until(lambda: is_heard_by(call.id, 2))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert [row.cancel_requested for row in await rows()] == [False]
        assert await laptop.finish(call) == "accepted"
        assert (await again).state == State.SUCCEEDED


async def is_heard_by(call: uuid.UUID, many: int) -> bool:
    return len(bell.current()._calls[call]) == many


async def test_it_says_goodbye_when_it_stops(another: Gateway, key: str) -> None:
    async with ready(another.url, key) as laptop, machine(another.url, key):
        another.process.send_signal(signal.SIGTERM)
        frame = await laptop.hear_a(frames.Bye)
        assert (frame.code, frame.reason) == (1001, "The gateway is restarting.")
        assert (await laptop.closed())[0] == 1001
    # Well before its drain of 25 s is over.
    assert await asyncio.to_thread(another.process.wait, 10) in {0, -signal.SIGTERM}
    assert await closed_at() is None  # calls wait for it to come back, elsewhere


@off_loop
def closed_at() -> Any:
    return Connector.objects.get().closed_at


async def test_it_closes_the_socket_of_a_revoked_key(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        await revoke(alice)
        async with asyncio.timeout(HELD_S + SLACK_S):
            code, reason = await laptop.closed()
    assert code == 4401
    assert "was revoked" in reason


async def test_it_closes_the_socket_of_a_revoked_key_whose_machine_polls_too(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        await polled(server.url, key, laptop.instance)
        await revoke(alice)
        async with asyncio.timeout(HELD_S + SLACK_S):
            code, reason = await laptop.closed()
    assert code == 4401
    assert "was revoked" in reason


async def test_it_closes_the_socket_of_a_machine_that_says_bye_by_post(
    server: Gateway, key: str
) -> None:
    async with ready(server.url, key) as laptop:
        await polled(server.url, key, laptop.instance, {"type": "bye"})
        assert (await laptop.closed())[0] == 1000


async def polled(url: str, key: str, instance: uuid.UUID, *frames: dict[str, Any]) -> None:
    """Carry frames of a socket's session by POST."""
    body = {"instance": str(instance), "epoch": 1, "frames": list(frames)}
    shown = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=shown, trust_env=False) as client:
        answer = await client.post("/api/mcp/submit", json=body, timeout=20)
    assert answer.status_code == 200, answer.text


async def test_it_closes_the_socket_of_a_user_who_left(
    server: Gateway, key: str, alice: Person
) -> None:
    async with ready(server.url, key) as laptop:
        await off_loop(deactivate)(alice)
        async with asyncio.timeout(HELD_S + SLACK_S):
            code, _ = await laptop.closed()
    assert code == 4401


async def test_it_closes_the_socket_of_a_secret_that_was_rotated(
    server: Gateway, key: str, alice: Person
) -> None:
    new = await rotate(alice)
    async with ready(server.url, new) as desktop, ready(server.url, key) as laptop:
        await end_of_grace(alice)
        async with asyncio.timeout(HELD_S + SLACK_S):
            code, reason = await laptop.closed()
        await desktop.settled()
    assert code == 4401
    assert "former secret" in reason


@off_loop
def revoke(person: Person) -> None:
    keys.revoke(ApiKey.objects.get(user=person.user))


def deactivate(person: Person) -> None:
    person.user.is_active = False
    person.user.save()


@off_loop
def rotate(person: Person) -> str:
    return keys.rotate(ApiKey.objects.get(user=person.user), timedelta(hours=1))


@off_loop
def end_of_grace(person: Person) -> None:
    ApiKey.objects.filter(user=person.user).update(former_until=timezone.now())


async def test_it_asks_a_machine_that_flaps_to_wait(server: Gateway, key: str) -> None:
    welcomed = 0
    async with machine(server.url, key) as laptop:
        hello = {"type": "hello", "v": 1, "instance": str(laptop.instance), "name": "laptop"}
        for _ in range(121):  # the minute in which they are counted may end meanwhile, once
            async with machine(server.url, key) as again:
                await again.say(hello)
                heard = await again.hear()
            if isinstance(heard, frames.Bye):
                break
            welcomed += 1
    assert 60 <= welcomed <= 120
    assert isinstance(heard, frames.Bye)
    assert heard.code == 4429
