"""An ear hears, and lets go of whoever is told to stop listening."""

import asyncio

import pytest

from mcp.bell import WORK, Ear, Note

LONG_S = 60.0
RINGING = Note(kind=WORK, body={})


async def test_it_hears_what_was_rung() -> None:
    ear = Ear()
    waiting = asyncio.ensure_future(ear.wait(LONG_S))
    await asyncio.sleep(0)
    ear.hear(RINGING)
    assert await waiting == [RINGING]
    assert await ear.wait(0.0) == []


@pytest.mark.parametrize("turns", range(6))
async def test_it_never_goes_on_when_it_is_cancelled_just_as_it_rings(turns: int) -> None:
    ear = Ear()

    async def listen() -> None:
        while True:
            await ear.wait(LONG_S)

    listening = asyncio.ensure_future(listen())
    await asyncio.sleep(0)
    ear.hear(RINGING)
    for _ in range(turns):  # of the event loop
        await asyncio.sleep(0)
    listening.cancel()
    done, _ = await asyncio.wait([listening], timeout=1)
    assert listening in done
    assert listening.cancelled()
