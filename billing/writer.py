"""Group commit: one thread, one transaction for everything that is due."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, Error, IntegrityError, connection, transaction

from accounts.outages import Outage
from billing import locking, metrics

log = logging.getLogger(__name__)
_outage = Outage(log, "the ledger's rows found no database that takes them")

LINGER_S = (
    0.02  # a row that nobody waits for rides with the next that somebody does, or goes by then
)
MOST_AT_ONCE = 500  # rows in one transaction; others must get their turn at the database too
MOST_WAITING = 100_000  # rows in memory while the database is away: about a hundred megabytes
WAIT_S = 10.0  # who waits is told by then, though the database, locked or frozen, says nothing
RETRY_S = 1.0  # between tries to write what must not be lost

STOP_S = 4.0  # a stop waits so long for a database that is away; then its rows stay as they are


Row = Any  # whatever the statement takes


def _nothing(rows: Sequence[Row]) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Statement:
    """How rows of one kind are written, all of a batch in one call inside one transaction.

    The lower `turn` goes first, so that a row opened and closed in the same batch is opened first.
    `run` may give an outcome for each row, which whoever waits for it gets. `names` are what the
    rows change together with other processes: two that do so at once must go in one order.
    """

    turn: int
    run: Callable[[Sequence[Row]], Sequence[Any] | None]
    names: Callable[[Sequence[Row]], Iterable[str]] = _nothing


class OneByOneError(Exception):
    """This batch must be written row by row: one of its rows is not like the others."""


class WriterUnavailableError(Exception):
    """The database cannot take the row now. Nothing was written; try again later."""


_AWAY = WriterUnavailableError("the database is away")


@dataclass(slots=True, eq=False)
class _Row:
    statement: Statement
    values: Row
    waiter: asyncio.Future[Any] | None  # None: nobody waits, so it is kept until it is written
    since: float = field(default_factory=time.monotonic)


class Writer:
    """Collects rows on the event loop and writes them in a thread of its own, a batch at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: list[_Row] = []
        self._in_hand: list[_Row] = []  # the batch that is being written
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None  # for those who wait while a batch hangs

    async def write(self, statement: Statement, values: Row) -> Any:
        """The row's outcome, once it is committed. Raises WriterUnavailableError where it cannot
        be."""
        waiter = self._loop.create_future()
        self._add(_Row(statement, values, waiter))
        self._start()
        return await waiter

    def put(self, statement: Statement, values: Row) -> None:
        """Take a row that is written soon, however long the database is away meanwhile.

        It never raises: whoever says how a request ended has more to do after it.
        """
        try:
            self._add(_Row(statement, values, None))
        except WriterUnavailableError as error:
            log.error("a row was dropped: %s", error)
            return
        if self._task is None and self._timer is None:
            self._timer = self._loop.call_later(LINGER_S, self._start)

    async def drain(self) -> None:
        """Return when everything taken so far is written."""
        self._start()
        while self._task is not None:
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """Write what is left, as far as the database is there, then end the thread."""
        try:
            async with asyncio.timeout(STOP_S):
                await self.drain()
        except TimeoutError:
            log.error("%d rows could not be written before the stop", len(self._waiting))
            if self._task is not None:
                self._task.cancel()
        # Looked up in the thread: Django keeps a connection for each.
        await self._loop.run_in_executor(self._thread, lambda: connection.close())
        self._thread.shutdown(wait=True)

    def behind_s(self) -> float:
        """For how long the oldest row has waited; nearly nothing while the database is well."""
        first = [*self._in_hand[:1], *self._waiting[:1]]
        return max((time.monotonic() - row.since for row in first), default=0.0)

    def _add(self, row: _Row) -> None:
        if len(self._waiting) >= MOST_WAITING:
            raise WriterUnavailableError(f"{MOST_WAITING} rows wait for the database already")
        self._waiting.append(row)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._waiting:
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                self._in_hand = batch
                self._late = self._loop.call_later(WAIT_S, self._refuse_from_now_on, batch)
                begun = time.monotonic()
                failed, outcomes = await self._loop.run_in_executor(self._thread, _commit, batch)
                self._late.cancel()
                now = time.monotonic()
                metrics.committed(
                    metrics.Batch(
                        rows=len(batch),
                        failed=len(failed),
                        commit_s=now - begun,
                        lag_s=now - batch[0].since,
                    )
                )
                self._tell(batch, failed, outcomes)
                self._in_hand = []
                lasting = [row for row in failed if row.waiter is None]
                if lasting:
                    self._refuse([])
                    # Whoever waited was told; what must not be lost goes on waiting.
                    self._waiting = [*lasting, *(r for r in self._waiting if r.waiter is None)]
                    await asyncio.sleep(RETRY_S)
        finally:
            self._task = None

    def _refuse_from_now_on(self, batch: list[_Row]) -> None:
        """The same as long as this batch hangs: who comes meanwhile need not wait as long."""
        self._refuse(batch)
        self._late = self._loop.call_later(RETRY_S, self._refuse_from_now_on, batch)

    def _refuse(self, batch: list[_Row]) -> None:
        """Tell all who wait, in this batch or for the next, that the database is away."""
        rows = [*batch, *self._waiting]
        self._tell(rows, dict.fromkeys(rows, _AWAY), {})

    @staticmethod
    def _tell(batch: list[_Row], failed: dict[_Row, Exception], outcomes: dict[_Row, Any]) -> None:
        for row in batch:
            if row.waiter is None or row.waiter.done():  # nobody waits, or the client has left
                continue
            error = failed.get(row)
            if error is None:
                row.waiter.set_result(outcomes.get(row))
            else:
                refusal = WriterUnavailableError("the database did not take the row")
                refusal.__cause__ = error
                row.waiter.set_exception(refusal)


def _commit(batch: list[_Row]) -> tuple[dict[_Row, Exception], dict[_Row, Any]]:
    """Write the batch in one transaction; where that fails, row by row: a bad one stays alone.

    Returns the rows that could not be written and may be tried again, each with its error, and
    the outcomes of the others.
    """
    try:
        written = _write(batch)
    except OneByOneError:
        return _commit_each(batch)
    except Exception as error:  # whatever it is: the other rows and those who wait must not hang
        connection.close()  # the next may be better; while all is well the thread keeps its own
        if _is_passing(error):  # the database is away: row by row it would only take longer
            _outage.met(error)
            return dict.fromkeys(batch, error), {}
        log.warning("a batch of %d rows failed (%s); trying them one by one", len(batch), error)
        return _commit_each(batch)
    _outage.over()
    return {}, written


def _commit_each(batch: list[_Row]) -> tuple[dict[_Row, Exception], dict[_Row, Any]]:
    failed: dict[_Row, Exception] = {}
    outcomes: dict[_Row, Any] = {}
    for row in batch:
        try:
            outcomes |= _write([row])
        except Exception as error:  # the same, for one row
            if row.waiter is None and not _is_passing(error):
                log.exception(
                    "a row that can never be written was dropped: %r",
                    getattr(row.values, "id", None),
                )
                continue
            failed[row] = error
    return failed, outcomes


def _is_passing(error: Exception) -> bool:
    """Whether the same row may be written later: all the database's own errors but those that
    the row itself is the cause of."""
    return isinstance(error, Error) and not isinstance(error, DataError | IntegrityError)


def _write(rows: Sequence[_Row]) -> dict[_Row, Any]:
    by_statement: dict[Statement, list[_Row]] = {}
    for row in rows:
        by_statement.setdefault(row.statement, []).append(row)
    written: dict[_Row, Any] = {}
    locking.bound_waits()
    with transaction.atomic():
        locking.take_turns(
            name
            for statement, mine in by_statement.items()
            for name in statement.names([row.values for row in mine])
        )
        for statement in sorted(by_statement, key=lambda each: each.turn):
            mine = by_statement[statement]
            outcomes = statement.run([row.values for row in mine])
            if outcomes is not None:
                written.update(zip(mine, outcomes, strict=True))
    return written


def write_now(statement: Statement, rows: Sequence[Row]) -> None:
    """Write the rows in the caller's own thread: for commands and for the sweeper.

    Raises what the database does. Of rows that must go one by one each has its own transaction.
    """
    due = [_Row(statement, row, None) for row in rows]
    if not due:
        return
    try:
        _write(due)
    except OneByOneError:
        for row in due:
            _write([row])


_writers: dict[asyncio.AbstractEventLoop, Writer] = {}  # until its loop says `shutdown`


def current() -> Writer:
    """The writer of the running event loop."""
    loop = asyncio.get_running_loop()
    writer = _writers.get(loop)
    if writer is None:
        writer = _writers[loop] = Writer(loop)
    return writer


async def shutdown() -> None:
    """Write what is left and end the running loop's writer, if it has one."""
    writer = _writers.pop(asyncio.get_running_loop(), None)
    if writer is not None:
        await writer.close()
