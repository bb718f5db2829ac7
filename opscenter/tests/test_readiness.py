"""Whether a process should be given requests, whatever its database does."""

import asyncio
from collections.abc import Iterator

import pytest

from accounts.reads import DatabaseAwayError
from opscenter import readiness
from opscenter.readiness import BEHIND, DRAINING, FULL, KEEP_S, LOOK_S, UNKNOWN, Readiness


class Database:
    """One that answers, is away or hangs, as told; it counts how often it was asked."""

    def __init__(self) -> None:
        self.has_tables = True
        self.is_away = False
        self.frees = asyncio.Event()
        self.frees.set()
        self.asked = 0
        self.now = 1000.0
        self.behind_s = 0.0

    async def look(self) -> bool:
        self.asked += 1
        await self.frees.wait()
        if self.is_away:
            raise DatabaseAwayError("away")
        return self.has_tables

    def readiness(self) -> Readiness:
        return Readiness(
            self.look, behind_s=lambda: self.behind_s, clock=lambda: self.now, wait_s=0.01
        )


@pytest.fixture
def not_draining(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(readiness, "_draining", False)
    yield


async def test_it_asks_the_database_once_for_many_probes() -> None:
    database = Database()
    ready = database.readiness()
    assert [await ready.refusal() for _ in range(5)] == [""] * 5
    assert database.asked == 1
    database.now += LOOK_S
    assert await ready.refusal() == ""
    assert database.asked == 2


async def test_it_stays_ready_while_a_database_hangs_and_not_for_ever() -> None:
    database = Database()
    ready = database.readiness()
    await ready.refusal()
    database.frees.clear()
    database.now += LOOK_S
    assert [await ready.refusal() for _ in range(3)] == [""] * 3
    assert database.asked == 2, "looks pile up while one hangs"
    database.now += KEEP_S
    assert await ready.refusal() == UNKNOWN
    database.frees.set()
    await ready.refusal()  # of the look that hung: too old by now to say anything
    assert await ready.refusal() == ""


async def test_it_stays_ready_while_a_database_is_away_and_not_for_ever() -> None:
    database = Database()
    ready = database.readiness()
    await ready.refusal()
    database.is_away = True
    database.now += KEEP_S
    assert await ready.refusal() == ""
    database.now += 1
    assert await ready.refusal() == UNKNOWN
    database.is_away = False
    assert await ready.refusal() == "", "it waits for the next look though the last one failed"


async def test_it_is_not_ready_where_rows_have_not_been_taken_for_long() -> None:
    database = Database()
    ready = database.readiness()
    database.behind_s = KEEP_S
    assert await ready.refusal() == ""
    database.behind_s += 1
    assert await ready.refusal() == FULL
    database.behind_s = 0
    assert await ready.refusal() == ""


async def test_it_is_not_ready_before_it_knows() -> None:
    database = Database()
    database.frees.clear()
    assert await database.readiness().refusal() == UNKNOWN
    database.frees.set()


async def test_it_is_not_ready_on_tables_of_an_earlier_release() -> None:
    database = Database()
    database.has_tables = False
    assert await database.readiness().refusal() == BEHIND


async def test_it_is_not_ready_once_it_drains(not_draining: None) -> None:
    ready = Database().readiness()
    assert not readiness.is_draining()
    readiness.start_draining()
    assert readiness.is_draining()
    assert await ready.refusal() == DRAINING
