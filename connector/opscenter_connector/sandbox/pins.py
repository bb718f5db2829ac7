"""Copies of protected files: what was changed goes into quarantine, the copy in its place.

Landlock cannot keep a command from writing them. Mounts can, but for commands that run at the same
time and rename the folders around them for each other.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from opscenter_connector.sandbox import walking
from opscenter_connector.sandbox.quarantine import Sweep

MAX_FILE_BYTES = 256 * 1024  # settings and hooks are text that somebody wrote
MAX_BYTES = 8 * 1024 * 1024
LARGE = frozenset({"objects", "refs", "logs", "lfs"})  # of repositories: nothing in them is run


@dataclass(frozen=True, slots=True)
class Pin:
    """A file, or a link, as it was."""

    stamp: tuple[int, int, int]  # inode, change time, size
    mode: int
    content: bytes | None  # None: too large to be kept, so what is changed is only put away
    target: str = ""  # of a link


class Pins:
    """Those of one allowed folder."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._pins: dict[str, Pin] = {}
        self._pinned: tuple[str, ...] = ()

    def take(self, paths: Iterable[str]) -> None:
        """While no command runs. What is unchanged is not read again."""
        self._pinned = tuple(paths)
        kept: dict[str, Pin] = {}
        room = MAX_BYTES
        for path, _, status in self._files({}):
            pin = self._pins.get(path)
            if pin is None or pin.stamp != _stamp(status):
                pin = self._read(path, status, room)
            kept[path] = pin
            room -= len(pin.content or b"")
        self._pins = kept

    def compare(self, sweep: Sweep, moved: Mapping[str, str]) -> None:
        """Put back what was changed or removed, and away what was added.

        What has moved with the folder around it is looked for where it is now.
        """
        seen: set[str] = set()
        for path, now, status in list(self._files(moved)):
            seen.add(path)
            pin = self._pins.get(path)
            if pin and pin.stamp == _stamp(status):
                continue
            sweep.away(now)
            if pin:
                _put_back(sweep.root, now, pin)
        for path, pin in self._pins.items():
            if path not in seen and _put_back(sweep.root, path, pin):
                sweep.found.append(path)

    def _files(self, moved: Mapping[str, str]) -> Iterator[tuple[str, str, os.stat_result]]:
        """Path as it was pinned, path as it is now, and what is there."""
        for pinned in self._pinned:
            now = moved.get(pinned, pinned)
            full = f"{self._top}/{now}"
            status = _found(full)
            if status is None or stat.S_ISLNK(status.st_mode):
                continue  # what a link leads to is pinned by its own name
            if stat.S_ISREG(status.st_mode):
                yield pinned, now, status
            for path in below(full):
                status = _found(path)
                if status is not None and _is_obeyed(status):
                    yield pinned + path[len(full) :], now + path[len(full) :], status

    def _read(self, path: str, status: os.stat_result, room: int) -> Pin:
        content = None
        if stat.S_ISLNK(status.st_mode):
            with suppress(OSError):
                target = os.readlink(f"{self._top}/{path}")
                return Pin(_stamp(status), 0, None, target)
        if status.st_size <= min(MAX_FILE_BYTES, room):
            with suppress(OSError):
                content = Path(self._top, path).read_bytes()
        return Pin(_stamp(status), stat.S_IMODE(status.st_mode), content)


def links(folder: str) -> Iterator[str]:
    """Those in it, at any depth."""
    yield from (path for path in below(folder) if os.path.islink(path))


def below(top: str) -> Iterator[str]:
    """Files and links. Not by os.walk, which a folder of a thousand levels brings to its end."""
    todo = [top]
    while todo:
        try:
            with os.scandir(todo.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        todo += [e.path for e in entries if _is_folder(e) and e.name not in LARGE]
        yield from (e.path for e in entries if not _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_obeyed(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)


def _found(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_ctime_ns, status.st_size


def _put_back(root: int, path: str, pin: Pin) -> bool:
    if pin.content is None and not pin.target:
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _folders(root, path)
        with walking.changing(root, path) as (at, name):
            if pin.target:
                os.symlink(pin.target, name, dir_fd=at)
                return True
            fd = os.open(name, flags, pin.mode, dir_fd=at)
        with os.fdopen(fd, "wb") as file:
            file.write(pin.content or b"")
    except OSError:
        return False
    return True


def _folders(root: int, path: str) -> None:
    """Those that it lay in; one that is no folder any more is left, and the file missing."""
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        with walking.changing(root, str(folder)) as (at, name), suppress(FileExistsError):
            os.mkdir(name, dir_fd=at)
