"""What was begun and how it ended, on disk before anybody is told.

One JSON object a line, appended and synced: `s` (begun, before the gateway is asked whether it
may), `d` (ended, with its result) and `a` (the gateway has answered: over). Nothing that is found
here is ever run again; it only says what to report. Calls without effects are not in it: what is
lost of them the gateway has run again.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opscenter_connector.instance import sync_directory

log = logging.getLogger(__name__)

COMPACT_BYTES = 16 * 1024 * 1024  # a dozen results of the largest size; read in no time at a start
MAX_REMEMBERED = 4096  # calls that ran and are over; the gateway forgets them much earlier


class JournalError(Exception):
    """The line could not be made durable. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a call ended: an outcome of the tunnel, and its MCP result or JSON-RPC error."""

    outcome: str
    body: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the journal knows of a call."""

    id: str
    fence: int
    end: End | None = None  # None: begun, and nobody knows
    over: bool = False  # acknowledged; remembered only so that it never runs again
    by: str = ""  # the policy's decision, and the digest of what a person approved

    def lines(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = [begun(self.id, self.fence, self.by)]
        if self.over:
            return [*told, over(self.id, self.fence, ran=True)]
        return told if self.end is None else [*told, ended(self.id, self.fence, self.end)]


def begun(id_: str, fence: int, by: str = "") -> dict[str, Any]:
    return {"k": "s", "id": id_, "fence": fence} | ({"by": by} if by else {})


def ended(id_: str, fence: int, end: End) -> dict[str, Any]:
    return {"k": "d", "id": id_, "fence": fence, "outcome": end.outcome, "body": end.body}


def over(id_: str, fence: int, *, ran: bool) -> dict[str, Any]:
    """`ran` is false for a call that the gateway did not let begin: it may come again."""
    return {"k": "a", "id": id_, "fence": fence, "ran": ran}


class Journal:
    """The file, and what it says. Lines that wait while the disk is busy share one sync."""

    def __init__(self, path: Path, *, compact_bytes: int = COMPACT_BYTES) -> None:
        self._path = path
        self._compact_bytes = compact_bytes
        self._compact_at = compact_bytes
        self._entries = _replayed(path)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._waiting: list[tuple[bytes, asyncio.Future[None] | None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._torn = False
        self._file = _rewritten(path, self.entries)

    @property
    def entries(self) -> list[Entry]:
        """All that is known, oldest first."""
        return list(self._entries.values())

    def write(self, record: dict[str, Any]) -> "asyncio.Future[None]":
        """Take its place among the lines at once; done when on the disk. Raises JournalError."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._append(record, durable)
        return durable

    def note(self, record: dict[str, Any]) -> None:
        """As `write`, for a line whose loss costs only a repetition: nobody waits for it."""
        self._append(record, None)

    async def aclose(self) -> None:
        while self._flusher is not None:
            await self._flusher
        self._disk.shutdown()
        os.close(self._file)

    def _append(self, record: dict[str, Any], durable: asyncio.Future[None] | None) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        _replay(self._entries, record)
        self._waiting.append((line, durable))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Everything that waits, in one write and one sync; again while more has come."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                lines = b"".join(line for line, _ in batch)
                failure, size = None, 0
                try:
                    size = await loop.run_in_executor(self._disk, self._write_synced, lines)
                except OSError as error:
                    failure = JournalError(f"{self._path}: {error.strerror or error}")
                    log.error("the journal cannot be written: %s", failure)
                for _, durable in batch:
                    _settle(durable, failure)
                if size > self._compact_at:
                    await loop.run_in_executor(self._disk, self._compact, self.entries)
        finally:
            self._flusher = None

    def _write_synced(self, lines: bytes) -> int:
        """In the disk's thread: the size after it. What fails leaves the file as it was."""
        size = os.fstat(self._file).st_size
        try:
            # After half a line that could not be taken back, a line of one's own.
            _write_all(self._file, b"\n" + lines if self._torn else lines)
            os.fsync(self._file)
        except OSError:
            self._torn = True
            os.ftruncate(self._file, size)
            self._torn = False
            raise
        self._torn = False
        return size + len(lines)

    def _compact(self, entries: list[Entry]) -> None:
        """In the disk's thread: a new file with what still counts, if there is room for it."""
        try:
            new = _rewritten(self._path, entries)
        except OSError as error:
            log.warning("the journal cannot be compacted: %s", error)
            return
        os.close(self._file)
        self._file, self._torn = new, False
        self._compact_at = max(self._compact_bytes, 2 * os.fstat(new).st_size)


def _settle(durable: asyncio.Future[None] | None, failure: JournalError | None) -> None:
    if durable is None or durable.done():
        return
    if failure is None:
        durable.set_result(None)
    else:
        durable.set_exception(failure)


def _replayed(path: Path) -> dict[str, Entry]:
    """Each whole line. The last may be torn: it was never synced, so nobody was told of it."""
    entries: dict[str, Entry] = {}
    if not path.exists():
        return entries
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                _replay(entries, json.loads(line))
            except (ValueError, TypeError, KeyError):  # noqa: PERF203 - one bad line is not all
                log.warning("line %d of %s cannot be read and is skipped", number, path)
    return entries


def _replay(entries: dict[str, Entry], record: dict[str, Any]) -> None:
    """One line more."""
    kind, id_, fence = record["k"], record["id"], record["fence"]
    entry = entries.get(id_)
    if kind == "s":
        # Begun again under a higher fence: what is known of its end stays known.
        known = entry or Entry(id=id_, fence=fence)
        entries[id_] = replace(known, fence=fence, over=False, by=str(record.get("by", "")))
    elif kind == "d" and entry is not None:
        end = End(outcome=record["outcome"], body=record.get("body"))
        entries[id_] = replace(entry, fence=max(fence, entry.fence), end=end)
    elif kind == "a" and entry is not None:
        del entries[id_]
        if record.get("ran"):
            entries[id_] = replace(entry, end=None, over=True)
            _forget_oldest(entries)


def _forget_oldest(entries: dict[str, Entry]) -> None:
    remembered = [id_ for id_, entry in entries.items() if entry.over]
    for id_ in remembered[: len(remembered) - MAX_REMEMBERED]:
        del entries[id_]


def _rewritten(path: Path, entries: Iterable[Entry]) -> int:
    """A file of these entries in place of the old one, whole or not at all; open for appending."""
    new = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    handle = os.open(new, flags, 0o600)
    try:
        records = (record for entry in entries for record in entry.lines())
        lines = (json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
        _write_all(handle, b"".join(lines))
        os.fsync(handle)
        new.rename(path)
        sync_directory(path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def _write_all(handle: int, data: bytes) -> None:
    """`os.write` may take less than it is given, at the end of a disk for instance."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
