"""A gateway that is broken, or hostile: the connector stays bounded and says what is wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opscenter_connector import frames, limits, outbox, polling, work
from opscenter_connector.journal import End
from opscenter_connector.outbox import Outbox
from opscenter_connector.polling import PollingOpener
from opscenter_connector.sessions import SessionEndError
from opscenter_connector.settings import Settings, Transport

HELLO = frames.Hello(v=1, instance="i", name="n", max_in_flight=4)
WELCOME = frames.Welcome(
    v=1,
    connector="c",
    epoch=1,
    lease_ms=15_000,
    renew_ms=5_000,
    max_in_flight=4,
    max_frame_bytes=2**21,
    max_result_bytes=2**20,
)
Write = Callable[[asyncio.StreamWriter], Any]


def test_it_takes_a_welcome_within_the_bounds_as_it_is() -> None:
    assert limits.kept(WELCOME, HELLO) == (WELCOME, [])


@pytest.mark.parametrize(
    ("name", "said", "kept"),
    [
        ("max_in_flight", 10**9, 4),
        ("max_in_flight", 0, 1),
        ("max_in_flight", -1, 1),
        ("renew_ms", 0, limits.RENEW_MS[0]),
        ("renew_ms", 2**62, limits.RENEW_MS[1]),
        ("max_result_bytes", -10, limits.RESULT_BYTES[0]),
        ("max_result_bytes", 2**62, limits.RESULT_BYTES[1]),
    ],
)
def test_it_brings_back_what_a_welcome_says_beyond_the_bounds(
    name: str, said: int, kept: int
) -> None:
    absurd = frames.from_gateway(frames.to_wire(WELCOME) | {name: said})
    assert isinstance(absurd, frames.Welcome)
    welcome, odd = limits.kept(absurd, HELLO)
    assert getattr(welcome, name) == kept
    assert odd == [f"the gateway says {name}={said}; here it is {kept}"]


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**63])
def test_it_refuses_numbers_that_nobody_can_count_with(number: int) -> None:
    said = {"type": "started", "id": "a", "fence": 1, "remaining_ms": number}
    with pytest.raises(frames.FrameError, match="64 bits"):
        frames.from_gateway(said)


def test_it_takes_no_more_calls_while_too_many_results_wait() -> None:
    mine = work.Work(max_in_flight=4)
    for number in range(work.MAX_HELD):
        mine.handed_out(_call(number))
        mine.judged(str(number), 1, by="allow")
        mine.started(frames.Started(id=str(number), fence=1, remaining_ms=1000))
        mine.ended(str(number), number + 1, End(outcome="done", body={}))
    (released,) = mine.handed_out(_call(work.MAX_HELD))
    assert isinstance(released, frames.Release)
    assert "acknowledged" in released.reason


async def test_it_reads_no_more_from_who_does_not_read() -> None:
    box = Outbox()
    for _ in range(outbox.MAX_WAITING):
        await box.room()
        box.put(frames.Bye())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(box.room(), 0.01)
    await box.take(most=1, most_bytes=0)
    await box.room()


@pytest.mark.parametrize(
    "answer",
    [
        '{"epoch":Infinity,"frames":[]}',
        '{"epoch":1,"frames":' + "[" * 100_000,
        '{"epoch":1,"frames":5}',
        "[]",
    ],
)
async def test_it_takes_no_answer_that_is_not_the_gateways(tmp_path: Path, answer: str) -> None:
    def write(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(len(answer)) + answer.encode())

    assert await _end_at(tmp_path, write) == "an answer that is not the gateway's"


async def test_it_reads_no_answer_that_never_ends(tmp_path: Path) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(10**12))
        while not writer.is_closing():
            writer.write(b" " * 65536)
            await writer.drain()

    reason = await _end_at(tmp_path, write)
    assert reason == f"an answer of more than {polling.MAX_ANSWER_BYTES} bytes"


async def test_it_waits_for_no_answer_that_drips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        polling, "BODY_S", 0.2
    )  # not a minute; without it the test waits for ever, and fails

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(10**6))
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await anyio.sleep(0.05)

    assert await _end_at(tmp_path, write) == "an answer that has not ended after 0.2 s"


def _call(number: int) -> frames.Call:
    return frames.Call(
        id=str(number),
        fence=1,
        server="s",
        method="tools/call",
        params={},
        has_effects=False,
        remaining_ms=1000,
    )


def _head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


async def _end_at(folder: Path, write: Write) -> str:
    """Why no session could be opened with a gateway that answers so."""
    async with _answering(write) as port:
        settings = Settings(
            api_url=f"http://127.0.0.1:{port}",
            api_key="sk-uc-test",
            name="n",
            user_id="me",
            servers=(),
            state_dir=folder,
            transport=Transport.POLLING,
        )
        with anyio.fail_after(20), pytest.raises(SessionEndError) as raised:
            await PollingOpener(settings)(HELLO)
    return raised.value.reason


@asynccontextmanager
async def _answering(write: Write) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            going_on = write(writer)
            if going_on is not None:
                await going_on
            await writer.drain()
        except OSError:
            return  # it had heard enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
