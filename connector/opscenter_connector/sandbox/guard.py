"""What is protected in one allowed folder: as it was before a command, and put right after it."""

import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.sandbox import gitfiles, mounts, pins, protected, walking
from opscenter_connector.sandbox.gitfiles import WorkTree
from opscenter_connector.sandbox.layers import Root
from opscenter_connector.sandbox.mounts import Mount
from opscenter_connector.sandbox.noting import Known, Left, Noted
from opscenter_connector.sandbox.pins import Pins
from opscenter_connector.sandbox.quarantine import Sweep
from opscenter_connector.sandbox.tree import Entry, Tree, entry_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What a command of this folder is to be given."""

    mounts: tuple[Mount, ...]
    work_trees: tuple[WorkTree, ...]


class Guard:
    """One allowed folder. While commands run in it, what is new in it is theirs."""

    def __init__(self, root: Root) -> None:
        self._top = str(root.path)
        self._tree = Tree(self._top)
        self._pins = Pins(self._top)
        self._lock = threading.Lock()
        self._running = 0
        self._before: dict[str, Entry] = {}
        self._expected: dict[str, Entry | None] = {}  # what links and settings lead to
        self._closed: set[str] = set()  # by the person
        self._guarded = Guarded(mounts=(), work_trees=())
        self._noted = Noted(root)

    def begin(self, *, pin: bool, notes: Path | None) -> Guarded:
        """A command is about to run; in `notes` is told what was there. Raises SandboxError."""
        with self._lock:
            if not self._running:
                self._remember(pin=pin)
            if notes is not None:
                self._noted.begin(notes, self._known)
            self._running += 1
            return self._guarded

    def end(self, sweep: Sweep) -> None:
        """It is over: what it planted is put away, what it changed put back."""
        with self._lock:
            self._running -= 1
            self._look_everywhere(sweep.root)
            self._put_away(sweep)
            sweep.found += self._moved_back(sweep.root)
            self._pins.compare(sweep, self._moved())
            self._put_links_back(sweep.root)
            if not self._running:
                self._noted.end()

    def recover(self, sweep: Sweep, notes: Path) -> None:
        """Put right what commands left that were running when this program was killed.

        Only what came while they ran: the rest is the person's own, most likely.
        """
        with self._lock:
            left = self._noted.left(notes)
            if left is None or self._running:
                return
            self._before, self._expected = left.known.before, left.known.expected
            self._closed = set(left.known.closed)
            self._look_everywhere(sweep.root)
            self._put_away(sweep, left)
            sweep.found += self._moved_back(sweep.root)
            self._put_links_back(sweep.root)
            self._noted.end()

    @property
    def _known(self) -> Known:
        return Known(
            before=self._before, expected=self._expected, closed=tuple(sorted(self._closed))
        )

    def _look_everywhere(self, root: int) -> None:
        """Also into folders that a command has closed: who knows a name in them comes in."""
        self._tree.look(most=sys.maxsize)  # how many there may be new was a bound of the command
        while closed := self._tree.closed - self._closed:
            self._closed |= closed  # one that cannot be opened is tried once
            for path in closed:
                with suppress(OSError):
                    walking.open_up(root, path)
            self._tree.look(most=sys.maxsize)

    def _remember(self, *, pin: bool) -> None:
        self._tree.look()
        self._closed = set(self._tree.closed)
        self._before = self._tree.guarded
        self._before |= {
            name: entry
            for name in protected.READ_ONLY_AT_TOP
            if (entry := self._entry(name)) is not None
        }
        self._expected = {path: self._entry(path) for path in self._led_to()}
        known = self._before | {p: e for p, e in self._expected.items() if e is not None}
        found = mounts.of(known, mounts.foreign(self._tree.linked))
        self._pins.take(self._pinnable(known) if pin else ())
        trees = [gitfiles.work_tree(Path(self._top, path)) for path in self._files_named_git()]
        self._guarded = Guarded(
            mounts=tuple(found), work_trees=tuple(tree for tree in trees if tree is not None)
        )

    def _entry(self, path: str) -> Entry | None:
        try:
            return entry_of(f"{self._top}/{path}")
        except OSError:
            return None

    def _pinnable(self, known: dict[str, Entry]) -> list[str]:
        return [path for path, entry in known.items() if not mounts.is_repository(path, entry)]

    def _files_named_git(self) -> list[str]:
        return [
            path
            for path, entry in self._before.items()
            if protected.is_git(_last(path)) and stat.S_ISREG(entry.kind)
        ]

    def _led_to(self) -> Iterator[str]:
        """Where protected links and settings of repositories lead, as far as that is in here."""
        for path, entry in self._before.items():
            if stat.S_ISLNK(entry.kind):
                yield from self._within(Path(self._top, path))
            elif stat.S_ISDIR(entry.kind) and not mounts.is_repository(path, entry):
                for link in pins.links(f"{self._top}/{path}"):
                    if not os.path.isdir(link):  # one that people work in stays theirs to change
                        yield from self._within(Path(link))
        for git in self._tree.git_folders:
            folder = Path(self._top, git)
            for found in gitfiles.led_to(folder / "config", folder.parent):
                yield from self._within(found)

    def _within(self, path: Path) -> Iterator[str]:
        with suppress(OSError, ValueError, RuntimeError):
            inside = str(path.resolve().relative_to(self._top))
            if inside != ".":
                yield inside

    def _put_away(self, sweep: Sweep, left: Left | None = None) -> None:
        now = self._tree.guarded
        now |= {p: e for p in self._expected if (e := self._entry(p)) is not None}
        known = {*self._before.values(), *self._expected.values()}
        gone: set[str] = set()
        for path, entry in sorted(now.items(), key=lambda item: item[0].count("/")):
            if entry in known or any(path.startswith(f"{above}/") for above in gone):
                continue
            if left is not None and not self._is_of(left, path, entry):
                continue
            if sweep.away(path):
                gone.add(path)

    def _is_of(self, left: Left, path: str, entry: Entry) -> bool:
        """Whether it came, or was changed, while those commands ran."""
        # Numbers of devices that are not the folder's own may be others after a start.
        with suppress(OSError):
            status = os.lstat(f"{self._top}/{path}")
            is_here = entry.device == self._noted.root.device
            return is_here and left.since_ns <= status.st_ctime_ns <= left.until_ns
        return False

    def _moved(self) -> dict[str, str]:
        """Protected entries that are elsewhere, with the folder around them."""
        now = self._tree.guarded
        places = {entry: path for path, entry in now.items()}
        return {
            path: places[entry]
            for path, entry in self._before.items()
            if now.get(path) != entry and entry in places
        }

    def _moved_back(self, root: int) -> Iterator[str]:
        """Protected folders that were renamed, most often to put a copy in their place."""
        for path, entry in self._before.items():
            if not stat.S_ISDIR(entry.kind) or self._entry(path) is not None:
                continue
            now = self._tree.folder_of(entry.inode)
            if now is None or _last(now) == _last(path):
                continue  # it was removed, or moved with the folder around it
            with (
                suppress(OSError),
                walking.changing(root, now) as (there, name),
                walking.changing(root, path) as (here, old),
            ):
                os.rename(name, old, src_dir_fd=there, dst_dir_fd=here)
                yield path

    def _put_links_back(self, root: int) -> None:
        for path, entry in self._before.items():
            if stat.S_ISLNK(entry.kind) and self._entry(path) is None:
                with suppress(OSError), walking.changing(root, path) as (at, name):
                    os.symlink(entry.target, name, dir_fd=at)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


_guards: dict[Root, Guard] = {}


def of(root: Root) -> Guard:
    """The guard of a folder, the same for all its commands: what it knows spares the next look."""
    return _guards.setdefault(root, Guard(root))
