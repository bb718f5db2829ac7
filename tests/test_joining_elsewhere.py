"""A client that tries again at another process, or after its own has gone: no tool runs twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.utils import timezone

from mcp import frames
from proxy.models import GivenAnswer, GivenPart
from tests import answers, tunnel
from tests import gateway as gateways
from tests.asking import rows
from tests.connector import ready
from tests.gateway import Gateway
from tests.joiners import FALLBACK, Heard, content_of, hearing, message_of, retried
from tests.machine_work import laptop
from tests.tunnel import until
from tests.turns import text_turn, tool_turn
from tests.upstream import MESSAGES, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

THREE_LINGERS = timedelta(seconds=3)  # of a gateway under test
READ = ("files_read", {"path": "a"})


@asynccontextmanager
async def another(gateway: Gateway, log: Path, **settings: str) -> AsyncIterator[Gateway]:
    """A second gateway on the same database."""
    starting = gateways.running(log, **settings)
    url, process = await asyncio.to_thread(starting.__enter__)
    try:
        yield Gateway(url=url, key=gateway.key, process=process, log=log)
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


async def test_a_retry_joins_once_its_client_has_left(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with (
        another(gateway, tmp_path / "log", OPSCENTER_LINGER_S="60") as patient,
        ready(patient.url, patient.key) as machine,
    ):
        async with hearing(patient) as first:
            call = await machine.begin()
            await first.begun()
        async with hearing(patient) as second:
            await machine.finish(call, "bread")
            await second.rest()
    assert message_of(second)["content"][-1]["text"] == "Bread."
    assert (len(await tunnel.rows()), len(upstream.sent_to(MESSAGES))) == (1, 2)


async def test_a_retry_joins_from_another_process(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with another(gateway, tmp_path / "log") as other:
        async with ready(gateway.url, gateway.key) as machine, hearing(gateway) as first:
            call = await machine.begin()
            async with hearing(other) as second:
                await second.begun()
                await machine.finish(call, "bread")
                assert await second.rest() == await first.rest()
        message = (await retried(other, **FALLBACK)).json()
    assert second.request_id == first.request_id
    assert message["content"] == content_of(first)
    assert (len(await tunnel.rows()), len(upstream.sent_to(MESSAGES))) == (1, 2)
    await sync_to_async(rows)(2)


async def test_it_goes_on_for_who_listens_at_another_process(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(tool_turn(READ), text_turn("Bread."))
    async with (
        another(gateway, tmp_path / "log") as other,
        ready(gateway.url, gateway.key) as machine,
        AsyncExitStack() as stays,
    ):
        async with hearing(gateway) as first:
            call = await machine.begin()
            await first.begun()
            second = await stays.enter_async_context(hearing(other))
            await second.begun()
        left_at = timezone.now()

        async def has_lingered() -> bool:
            followed = GivenAnswer.objects.filter(followed_at__gt=left_at + THREE_LINGERS)
            return await followed.aexists()

        await until(has_lingered)
        await machine.finish(call, "bread")
        await second.rest()
    assert message_of(second)["content"][-1]["text"] == "Bread."


def parts_of(heard: Heard) -> QuerySet[GivenPart]:
    """What other processes know of an answer."""
    return GivenPart.objects.filter(request_id=UUID(heard.request_id.removeprefix("req_")))


async def test_no_tool_runs_again_when_its_process_is_killed(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(tool_turn(READ))
    async with ready(gateway.url, gateway.key) as machine:
        async with another(gateway, tmp_path / "log") as doomed:
            with pytest.raises(httpx.HTTPError):
                async with hearing(doomed) as first:
                    await first.begun()
                    await machine.begin()
                    await until(parts_of(first).aexists)
                    doomed.process.kill()
                    await first.rest()
        async with hearing(gateway) as second:
            await second.rest()
        last = await retried(gateway, **FALLBACK)
    assert "are not run again" in second.events[-1]["error"]["message"]
    assert (last.status_code, last.headers["x-should-retry"]) == (503, "false")
    assert last.json()["error"]["message"] == second.events[-1]["error"]["message"]
    assert (len(await tunnel.rows()), len(upstream.sent_to(MESSAGES))) == (1, 1)


async def test_another_process_begins_anew_where_nothing_was_done(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(answers.stream([*text_turn().events()[:4], answers.End.HANG]), text_turn("Hi."))
    async with laptop(gateway):
        async with another(gateway, tmp_path / "log") as doomed:
            with pytest.raises(httpx.HTTPError):
                async with hearing(doomed) as first:
                    await first.begun()
                    await until(parts_of(first).aexists)
                    doomed.process.kill()
                    await first.rest()
        async with hearing(gateway) as second:
            await second.rest()
        assert second.events[-1]["type"] == "error"
        assert (await retried(gateway, **FALLBACK)).json()["content"][-1]["text"] == "Hi."


async def test_a_stop_says_what_it_has_broken_off(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script(tool_turn(READ))
    async with ready(gateway.url, gateway.key) as machine:
        async with (
            another(gateway, tmp_path / "log", OPSCENTER_DRAIN_S="1") as stopping,
            hearing(stopping) as first,
        ):
            call = await machine.begin()
            stopping.process.terminate()
            await first.rest()
            assert first.events[-1]["error"]["type"] == "overloaded_error"
            stop = await machine.hear_a(frames.Cancel)
            assert stop.id == call.id
        answer = await retried(gateway)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")
    assert len(json.loads(upstream.requests[0].body)["messages"]) == len(upstream.requests) == 1
