"""Reads off the loop: whoever waits is told in time, though the database says nothing."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts import reads
from accounts.reads import DatabaseAwayError

SOON_S = 0.05
LATE_S = 30.0


@pytest.fixture(autouse=True)
def nobody_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has learnt of its database is nothing to the next."""
    monkeypatch.setattr(reads, "_silent_at", float("-inf"))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


async def test_who_waits_for_a_silent_database_is_told(threads: ThreadPoolExecutor) -> None:
    answers = threading.Event()
    ask = reads.off_loop(lambda: answers.wait(LATE_S), threads, wait_s=SOON_S)
    with pytest.raises(DatabaseAwayError):
        await ask()
    answers.set()


async def test_who_comes_later_need_not_wait_as_long(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(reads, "HUNG_S", SOON_S)  # else a test takes a second for each wait
    with pytest.raises(DatabaseAwayError):
        await reads.off_loop(lambda: answers.wait(LATE_S), threads, wait_s=SOON_S)()
    ask = reads.off_loop(lambda: 1, threads, wait_s=LATE_S)  # behind the one that hangs
    with pytest.raises(DatabaseAwayError):
        await asyncio.wait_for(ask(), LATE_S / 2)
    answers.set()
    monkeypatch.setattr(reads, "HUNG_S", LATE_S)  # a slow machine must not look silent again
    assert await ask() == 1
    assert reads._silent_at == float("-inf")


async def test_a_read_may_have_no_bound(threads: ThreadPoolExecutor) -> None:
    ask = reads.off_loop(lambda: threading.Event().wait(2 * SOON_S), threads, wait_s=None)
    assert await ask() is False


async def test_a_read_may_time_out_by_itself(threads: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await reads.off_loop(fail, threads)()
