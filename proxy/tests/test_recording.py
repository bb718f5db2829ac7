"""What is told is heard from its beginning by all, and holds no more memory than it may."""

import asyncio

import pytest

from proxy import recording
from proxy.recording import Budget, Listener, Recording

KIB = 1024


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a few blocks reach."""
    monkeypatch.setattr(recording, "MOST_BYTES", 10 * KIB)
    monkeypatch.setattr(recording, "WINDOW_BYTES", 2 * KIB)


def budget(most_bytes: int = 100 * KIB) -> Budget:
    return Budget(most_bytes, lambda: False)


def nobody_minds() -> None:
    """They have left."""


async def heard(listener: Listener) -> bytes:
    return b"".join([block async for block in listener])


async def settled() -> None:
    """Everybody has gone as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_hear_all_of_it_whenever_they_come() -> None:
    told = Recording(budget())
    early = asyncio.create_task(heard(told.listen(nobody_minds)))
    told.add(b"one ")
    await settled()
    late = asyncio.create_task(heard(told.listen(nobody_minds)))
    told.add(b"two")
    told.end()
    assert [await early, await late] == [b"one two"] * 2
    assert await heard(told.listen(nobody_minds)) == b"one two"


async def test_it_waits_for_the_slowest_where_it_is_too_long_to_be_kept() -> None:
    held = budget()
    told = Recording(held)
    fast, slow = told.listen(nobody_minds), told.listen(nobody_minds)
    hearing = asyncio.create_task(heard(fast))
    for _ in range(11):
        told.add(b"x" * KIB)
    assert not told.is_kept
    waiting = asyncio.create_task(told.room())
    await settled()
    assert (waiting.done(), held.held) == (False, 11 * KIB)
    for _ in range(9):
        await anext(slow)
    await waiting
    assert held.held == 2 * KIB
    told.end()
    assert len(await heard(slow)) == 2 * KIB
    assert len(await hearing) == 11 * KIB


async def test_it_waits_for_nobody_who_has_left() -> None:
    told = Recording(budget())
    left: list[bool] = []
    slow = told.listen(lambda: left.append(True))
    for _ in range(11):
        told.add(b"x" * KIB)
    waiting = asyncio.create_task(told.room())
    await settled()
    await slow.aclose()
    await slow.aclose()
    await waiting
    assert (left, told.is_heard) == ([True], False)


async def test_all_together_hold_no_more_than_they_may() -> None:
    ended: list[Recording] = []

    def make_room() -> bool:
        for one in ended[:1]:
            one.release()
            ended.remove(one)
            return True
        return False

    held = Budget(8 * KIB, make_room)
    first, second = Recording(held), Recording(held)
    for _ in range(6):
        first.add(b"x" * KIB)
    first.end()
    ended.append(first)
    for _ in range(6):
        second.add(b"x" * KIB)
    assert (ended, held.held, second.is_kept) == ([], 6 * KIB, True)
    for _ in range(3):
        second.add(b"x" * KIB)
    assert not second.is_kept  # nobody else can make room
