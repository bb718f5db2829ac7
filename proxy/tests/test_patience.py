"""Waiting in a row on a single timer: like asyncio.timeout around each wait."""

import asyncio

import pytest

from proxy.patience import Patience


async def test_it_gives_the_result_of_a_wait_that_is_short() -> None:
    patience = Patience(5)
    assert await patience.wait(asyncio.sleep(0, "come")) == "come"
    patience.end()


async def test_it_gives_up_on_each_wait_that_is_long_and_waits_again() -> None:
    patience = Patience(0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patience.wait(asyncio.Event().wait()), 5)
    assert patience.silent_s() >= 0.15
    assert await patience.wait(asyncio.sleep(0, "come")) == "come"
    assert patience.silent_s() < 0.1
    patience.end()


async def test_it_counts_from_the_start_of_the_wait_and_not_of_the_timer() -> None:
    patience = Patience(0.2)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.15)
    start = loop.time()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(patience.wait(asyncio.Event().wait()), 5)
    assert loop.time() - start >= 0.19
    patience.end()


async def test_it_knows_the_longest_silence_and_blames_no_wait_for_what_lies_between() -> None:
    patience = Patience(0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patience.wait(asyncio.Event().wait()), 5)
    await patience.wait(asyncio.sleep(0))
    first = patience.longest_s
    assert first >= 0.1  # both waits are one silence
    await asyncio.sleep(first * 2)
    await patience.wait(asyncio.sleep(0))
    assert patience.longest_s == first
    patience.end()


async def test_it_does_not_swallow_somebody_elses_cancellation() -> None:
    patience = Patience(5)
    waiting = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    patience.end()


async def test_it_leaves_no_timer_behind() -> None:
    patience = Patience(0.01)
    patience.end()
    assert patience._timer.cancelled()


async def test_it_gives_up_when_all_waits_together_are_long() -> None:
    patience = Patience(0.1, in_all_s=0.25)
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TimeoutError):
        for _ in range(100):
            await asyncio.wait_for(patience.wait(asyncio.sleep(0.02)), 5)
    assert 0.2 < loop.time() - start < 2
    patience.end()
