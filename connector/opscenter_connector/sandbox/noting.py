"""What was in a folder before a command, on disk: for the next start, should this one be killed."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opscenter_connector.sandbox.layers import Root
from opscenter_connector.sandbox.tree import Entry

# No command runs longer than ten minutes; the rest is for a machine that has stood still.
LONGEST_NS = 660 * 1_000_000_000
SLACK_NS = 1_000_000_000  # times of files are those of the last tick of a clock
MAX_BYTES = 64 * 1024 * 1024  # every folder of a tree that may be watched, with a name in each
KNOWN, OPEN = "before-{}.json", "open-{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Entries by their paths."""

    before: dict[str, Entry]  # under protected names
    expected: dict[str, Entry | None]  # what links and settings lead to
    closed: tuple[str, ...] = ()  # folders that the person closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A command had begun, and nobody saw its end."""

    known: Known
    since_ns: int  # when the first of those began that ran
    until_ns: int  # nothing of them was alive after that


@dataclass(slots=True)
class Noted:
    """The notes about one allowed folder."""

    root: Root
    _written: Known | None = field(default=None, init=False)
    _open: Path | None = field(default=None, init=False)

    def begin(self, notes: Path, known: Known) -> None:
        """A command begins. Without a disk to write to it is as it was without notes."""
        with suppress(OSError):
            notes.mkdir(mode=0o700, parents=True, exist_ok=True)
            if known != self._written or not self._place(notes, KNOWN).exists():
                self._write(notes, known)
            self._open, is_first = self._place(notes, OPEN), self._open is None
            if is_first:
                self._open.write_text(str(time.time_ns() - SLACK_NS))
            os.utime(self._open)

    def end(self) -> None:
        """All that was begun has been put right."""
        if self._open is not None:
            self._open.unlink(missing_ok=True)
            self._open = None

    def left(self, notes: Path) -> Left | None:
        """What an earlier run has not ended, in this very folder. It is spoken of once."""
        self._open = self._place(notes, OPEN)
        try:
            since_ns = int(self._open.read_text("ascii"))
            last_ns = self._open.stat().st_mtime_ns
            with self._place(notes, KNOWN).open("rb") as file:
                said = json.loads(file.read(MAX_BYTES))
            if said["root"] != [self.root.device, self.root.inode]:
                return None
            return Left(known=_read(said), since_ns=since_ns, until_ns=last_ns + LONGEST_NS)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def _write(self, notes: Path, known: Known) -> None:
        place = self._place(notes, KNOWN)
        new = place.with_suffix(".new")
        said = {
            "root": [self.root.device, self.root.inode],
            "before": _told(known.before),
            "expected": _told(known.expected),
            "closed": known.closed,
        }
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        # Names need not be text; the ASCII of JSON holds halves of characters too.
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(said, file)
        new.replace(place)
        self._written = known

    def _place(self, notes: Path, name: str) -> Path:
        digest = hashlib.sha256(os.fsencode(self.root.path)).hexdigest()
        return notes / name.format(digest[:16])


def _told(entries: Mapping[str, Entry | None]) -> dict[str, list[Any] | None]:
    return {
        path: None if one is None else [one.device, one.inode, one.kind, one.target]
        for path, one in entries.items()
    }


def _read(said: dict[str, Any]) -> Known:
    expected = {
        path: None if one is None else _entry(one) for path, one in said["expected"].items()
    }
    return Known(
        before={path: _entry(one) for path, one in said["before"].items()},
        expected=expected,
        closed=tuple(map(str, said["closed"])),
    )


def _entry(said: list[Any]) -> Entry:
    device, inode, kind, target = said
    return Entry(int(device), int(inode), int(kind), str(target))
