"""Group commit: what is due goes together, and what was promised is kept."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DataError, OperationalError

from billing import writer
from billing.writer import Statement, Writer, WriterUnavailableError

Rows = Sequence[writer.Row]


class Recorder:
    """A statement's work that remembers its batches, and fails as it is told."""

    def __init__(self, turn: int = 1) -> None:
        self.statement = Statement(turn, self.run)
        self.batches: list[Rows] = []
        self.bad: set[Any] = set()
        self.away = 0  # so many transactions find no database

    def run(self, rows: Rows) -> None:
        if self.away:
            self.away -= 1
            raise OperationalError("the database is away")
        if any(row["id"] in self.bad for row in rows):
            raise DataError("a bad row")
        self.batches.append(rows)

    @property
    def written(self) -> list[Any]:
        return [row["id"] for batch in self.batches for row in batch]


async def test_it_writes_together_what_is_due_together(writing: Writer) -> None:
    recorder = Recorder()
    await asyncio.gather(*(writing.write(recorder.statement, {"id": n}) for n in range(100)))
    assert sorted(recorder.written) == list(range(100))
    assert len(recorder.batches) <= 2


async def test_it_lets_a_row_that_nobody_waits_for_ride_with_one_that_somebody_does(
    writing: Writer,
) -> None:
    recorder = Recorder()
    writing.put(recorder.statement, {"id": "later"})
    await writing.write(recorder.statement, {"id": "now"})
    assert recorder.batches == [[{"id": "later"}, {"id": "now"}]]


async def test_it_writes_a_lone_row_without_being_asked_again(writing: Writer) -> None:
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def run(rows: Rows) -> None:
        loop.call_soon_threadsafe(written.set)

    writing.put(Statement(1, run), {"id": "alone"})
    await asyncio.wait_for(written.wait(), 5)


async def test_it_tells_only_the_one_whose_row_is_bad(writing: Writer) -> None:
    recorder = Recorder()
    recorder.bad = {3}
    results = await asyncio.gather(
        *(writing.write(recorder.statement, {"id": n}) for n in range(6)), return_exceptions=True
    )
    assert [
        n for n, result in enumerate(results) if isinstance(result, WriterUnavailableError)
    ] == [3]
    assert sorted(recorder.written) == [0, 1, 2, 4, 5]


async def test_it_keeps_what_it_took_while_the_database_is_away(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.01)  # a bound of ours, shortened; nothing is replaced
    recorder = Recorder()
    recorder.away = 6
    for n in range(10):
        writing.put(recorder.statement, {"id": n})
    with pytest.raises(WriterUnavailableError):
        await writing.write(recorder.statement, {"id": "waits"})
    await asyncio.wait_for(writing.drain(), 10)
    assert recorder.written == list(range(10))


async def test_it_drops_a_row_that_can_never_be_written_and_says_so(
    writing: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    recorder.bad = {"bad"}
    writing.put(recorder.statement, {"id": "bad"})
    writing.put(recorder.statement, {"id": "good"})
    await asyncio.wait_for(writing.drain(), 5)
    assert recorder.written == ["good"]
    assert "can never be written" in caplog.text


async def test_it_goes_on_when_the_one_who_waits_has_left(writing: Writer) -> None:
    recorder = Recorder()
    leaving = asyncio.create_task(writing.write(recorder.statement, {"id": "left"}))
    await asyncio.sleep(0)
    leaving.cancel()
    await writing.write(recorder.statement, {"id": "stayed"})
    assert set(recorder.written) == {"left", "stayed"}


async def test_it_refuses_more_than_memory_should_hold(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 3)  # a bound of ours, lowered; nothing is replaced
    recorder = Recorder()
    for n in range(3):
        writing.put(recorder.statement, {"id": n})
    with pytest.raises(WriterUnavailableError, match="3 rows"):
        await writing.write(recorder.statement, {"id": 4})


async def test_it_opens_a_row_before_it_closes_it_in_the_same_batch(writing: Writer) -> None:
    order: list[str] = []
    close = Statement(2, lambda rows: order.append("close"))
    admit = Statement(1, lambda rows: order.append("admit"))
    writing.put(close, {"id": "another's"})
    writing.put(admit, {"id": "mine"})
    writing.put(close, {"id": "mine"})
    await writing.drain()
    assert order == ["admit", "close"]


async def test_it_stops_although_the_database_stays_away(
    writing: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "STOP_S", 0.1)  # a bound of ours, shortened; nothing is replaced
    recorder = Recorder()
    recorder.away = 10_000
    writing.put(recorder.statement, {"id": "lost"})
    await asyncio.wait_for(writer.shutdown(), 5)
    assert "1 rows could not be written" in caplog.text


async def test_it_survives_an_error_that_is_not_the_databases(writing: Writer) -> None:
    def run(rows: Rows) -> None:
        if any(row["id"] == "odd" for row in rows):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    odd = Statement(1, run)
    results = await asyncio.wait_for(
        asyncio.gather(
            *(writing.write(odd, {"id": name}) for name in ("even", "odd", "even")),
            return_exceptions=True,
        ),
        5,
    )
    assert [type(result) for result in results] == [type(None), WriterUnavailableError, type(None)]


async def test_it_tells_who_waits_when_the_database_says_nothing(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAIT_S", 0.1)  # a bound of ours, shortened; nothing is replaced
    thawed = threading.Event()

    def run(rows: Rows) -> None:
        thawed.wait(10)

    frozen = Statement(1, run)
    try:
        with pytest.raises(WriterUnavailableError):
            await asyncio.wait_for(writing.write(frozen, {"id": "waits"}), 5)
    finally:
        thawed.set()


async def test_it_tells_all_who_come_while_a_batch_hangs(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAIT_S", 0.05)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    goes_on = threading.Event()

    def run(rows: Rows) -> None:
        assert goes_on.wait(10)

    hanging = Statement(1, run)
    try:
        for number in range(3):  # the first is in the batch that hangs, the others come later
            with pytest.raises(WriterUnavailableError):
                await asyncio.wait_for(writing.write(hanging, {"id": number}), 5)
    finally:
        goes_on.set()
    await writing.drain()
    recorder = Recorder()
    await writing.write(recorder.statement, {"id": "after"})
    assert recorder.written == ["after"]
