"""Group commit: what is due goes together, and what was promised is kept."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DataError, OperationalError

from billing import writer
from billing.writer import Writer, WriterUnavailableError

Rows = Sequence[tuple[Any, ...]]


class Statements:
    """A statement that remembers its batches, and fails as it is told."""

    def __init__(self) -> None:
        self.batches: list[Rows] = []
        self.bad: set[Any] = set()
        self.away = 0  # so many transactions find no database

    def __call__(self, rows: Rows) -> None:
        if self.away:
            self.away -= 1
            raise OperationalError("the database is away")
        if any(row[0] in self.bad for row in rows):
            raise DataError("a bad row")
        self.batches.append(rows)

    @property
    def written(self) -> list[Any]:
        return [row[0] for batch in self.batches for row in batch]


async def test_it_writes_together_what_is_due_together(writing: Writer) -> None:
    statement = Statements()
    await asyncio.gather(*(writing.write(statement, (n,)) for n in range(100)))
    assert sorted(statement.written) == list(range(100))
    assert len(statement.batches) <= 2


async def test_it_lets_a_row_that_nobody_waits_for_ride_with_one_that_somebody_does(
    writing: Writer,
) -> None:
    statement = Statements()
    writing.put(statement, ("later",))
    await writing.write(statement, ("now",))
    assert statement.batches == [[("later",), ("now",)]]


async def test_it_writes_a_lone_row_without_being_asked_again(writing: Writer) -> None:
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def statement(rows: Rows) -> None:
        loop.call_soon_threadsafe(written.set)

    writing.put(statement, ("alone",))
    await asyncio.wait_for(written.wait(), 5)


async def test_it_tells_only_the_one_whose_row_is_bad(writing: Writer) -> None:
    statement = Statements()
    statement.bad = {3}
    results = await asyncio.gather(
        *(writing.write(statement, (n,)) for n in range(6)), return_exceptions=True
    )
    assert [
        n for n, result in enumerate(results) if isinstance(result, WriterUnavailableError)
    ] == [3]
    assert sorted(statement.written) == [0, 1, 2, 4, 5]


async def test_it_keeps_what_it_took_while_the_database_is_away(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.01)  # a bound of ours, shortened; nothing is replaced
    statement = Statements()
    statement.away = 6
    for n in range(10):
        writing.put(statement, (n,))
    with pytest.raises(WriterUnavailableError):
        await writing.write(statement, ("waits",))
    await asyncio.wait_for(writing.drain(), 10)
    assert statement.written == list(range(10))


async def test_it_drops_a_row_that_can_never_be_written_and_says_so(
    writing: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    statement = Statements()
    statement.bad = {"bad"}
    writing.put(statement, ("bad",))
    writing.put(statement, ("good",))
    await asyncio.wait_for(writing.drain(), 5)
    assert statement.written == ["good"]
    assert "can never be written" in caplog.text


async def test_it_goes_on_when_the_one_who_waits_has_left(writing: Writer) -> None:
    statement = Statements()
    leaving = asyncio.create_task(writing.write(statement, ("left",)))
    await asyncio.sleep(0)
    leaving.cancel()
    await writing.write(statement, ("stayed",))
    assert set(statement.written) == {"left", "stayed"}


async def test_it_refuses_more_than_memory_should_hold(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 3)  # a bound of ours, lowered; nothing is replaced
    statement = Statements()
    for n in range(3):
        writing.put(statement, (n,))
    with pytest.raises(WriterUnavailableError, match="3 rows"):
        await writing.write(statement, (4,))
