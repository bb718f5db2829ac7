"""What lies in an allowed folder: its protected names, and files that have other names elsewhere.

The first look reads everything, later ones only folders that have changed: the kernel's change time
of a folder cannot be set back by a command.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from opscenter_connector.sandbox import protected
from opscenter_connector.sandbox.layers import SandboxError

MAX_FOLDERS = 200_000  # a walk of a second or two; who allows more allows a disk
# A change within this time of a look may bear the same time as the look before it.
FRESH_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Something with a protected name; another one in its place has another identity."""

    device: int
    inode: int
    kind: int  # S_IFMT
    target: str = ""  # of a symbolic link


@dataclass(frozen=True, slots=True)
class Linked:
    """A file with more than one name."""

    device: int
    inode: int
    names: int


@dataclass(slots=True)
class _Folder:
    inode: int
    changed_ns: int | None  # None: look again
    folders: list[str] = field(default_factory=list)
    guarded: dict[str, Entry] = field(default_factory=dict)
    linked: dict[str, Linked] = field(default_factory=dict)
    is_git: bool = False
    is_git_info: bool = False


def entry_of(path: str) -> Entry:
    """What lies there. Raises OSError."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    target = os.readlink(path) if kind == stat.S_IFLNK else ""
    return Entry(status.st_dev, status.st_ino, kind, target)


class Tree:
    """One allowed folder. Paths in it are relative; its own is the empty one."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._known: dict[str, _Folder] = {}
        self.closed: set[str] = set()  # folders that may not be listed

    def look(self, *, most: int | None = None) -> None:
        """Bring it up to date. Raises SandboxError where it is too large."""
        most = MAX_FOLDERS if most is None else most
        self.closed.clear()
        seen: dict[str, _Folder] = {}
        todo = [""]
        while todo:
            at = todo.pop()
            folder = self._folder(at)
            if folder is None:
                continue
            seen[at] = folder
            if len(seen) > most:
                raise SandboxError(
                    f"{self._top} has more than {most} folders, too many to be watched; "
                    "allow the folder of one project"
                )
            todo += [f"{at}/{name}" if at else name for name in folder.folders]
        self._known = seen

    @property
    def guarded(self) -> dict[str, Entry]:
        """All protected entries by their paths."""
        return {
            f"{at}/{name}" if at else name: entry
            for at, folder in self._known.items()
            for name, entry in folder.guarded.items()
        }

    @property
    def linked(self) -> Iterator[tuple[str, Linked]]:
        for at, folder in self._known.items():
            for name, found in folder.linked.items():
                yield (f"{at}/{name}" if at else name), found

    def folder_of(self, inode: int) -> str | None:
        """Where the folder with that number is now."""
        return next((at for at, known in self._known.items() if known.inode == inode), None)

    @property
    def git_folders(self) -> list[str]:
        """Folders that are git directories."""
        return [at for at, folder in self._known.items() if folder.is_git]

    def _folder(self, at: str) -> _Folder | None:
        path = f"{self._top}/{at}" if at else self._top
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return None
            known = self._known.get(at)
            if known and (known.inode, known.changed_ns) == (status.st_ino, status.st_ctime_ns):
                return known
            return self._read(at, path, status)
        except PermissionError:
            self.closed.add(at)
            return None
        except OSError:
            return None  # gone meanwhile

    def _read(self, at: str, path: str, status: os.stat_result) -> _Folder:
        fresh = time.time_ns() - status.st_ctime_ns < FRESH_NS
        folder = _Folder(status.st_ino, None if fresh else status.st_ctime_ns)
        with os.scandir(path) as found:
            entries = list(found)
        names = {entry.name for entry in entries}
        folder.is_git = names >= protected.GIT_PARTS or names >= protected.GIT_HALF
        folder.is_git_info = at.casefold().endswith(f"{protected.GIT}/info")
        for entry in entries:
            self._take(folder, entry)
        return folder

    def _take(self, folder: _Folder, entry: os.DirEntry[str]) -> None:
        name = entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder:
            folder.folders.append(name)
        status = None if is_folder else entry.stat(follow_symlinks=False)
        if protected.anywhere(name) or (
            (folder.is_git or folder.is_git_info)
            and protected.inside_git(name, info=folder.is_git_info)
        ):
            folder.guarded[name] = entry_of(entry.path)
        if status and status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            folder.linked[name] = Linked(status.st_dev, status.st_ino, status.st_nlink)
