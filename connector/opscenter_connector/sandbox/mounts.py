"""Which parts of the allowed folders get mounts of their own, and how (pure)."""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from opscenter_connector.sandbox import protected
from opscenter_connector.sandbox.tree import Entry, Linked

MOST = 160  # each is an open file on its way to bubblewrap, and 253 go into a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path below an allowed folder. A mount cannot be renamed or removed, writable or not."""

    path: str
    writable: bool = False


def of(guarded: Mapping[str, Entry], foreign: Iterable[str]) -> list[Mount]:
    """The mounts, outer ones first. Where there are too many the deepest have none.

    `foreign` are files that have names outside: whoever writes them writes there.
    """
    found = [
        Mount(path=path, writable=is_repository(path, entry))
        for path, entry in guarded.items()
        if not stat.S_ISLNK(entry.kind)
    ]
    read_only = {mount.path for mount in found if not mount.writable}
    found = [mount for mount in found if not _inside(mount.path, read_only)]
    found.sort(key=_depth)
    fitting = found[: MOST // 2]
    files = [path for path in foreign if not _inside(path, read_only)]
    fitting += [Mount(path=path) for path in gathered(files, MOST // 2)]
    return sorted(fitting, key=_depth)


def is_repository(path: str, entry: Entry) -> bool:
    """A git directory stays writable, for commits; what git runs in it has mounts of its own."""
    return protected.is_git(PurePosixPath(path).name) and stat.S_ISDIR(entry.kind)


def gathered(paths: Iterable[str], most: int) -> list[str]:
    """These paths or, where they are too many, the folders that hold them."""
    parts = [PurePosixPath(path).parts for path in paths]
    depth = max(map(len, parts), default=0)
    while depth and len({part[:depth] for part in parts}) > most:
        depth -= 1  # at last it is the allowed folder as a whole
    return sorted({"/".join(part[:depth]) for part in parts})


def foreign(linked: Iterable[tuple[str, Linked]]) -> list[str]:
    """Those whose names are not all in the allowed folders."""
    paths: dict[Linked, list[str]] = {}
    for path, found in linked:
        paths.setdefault(found, []).append(path)
    return [path for found, all_ in paths.items() if len(all_) < found.names for path in all_]


def _inside(path: str, folders: set[str]) -> bool:
    return any(str(above) in folders for above in PurePosixPath(path).parents)


def _depth(mount: Mount) -> tuple[int, str]:
    return mount.path.count("/"), mount.path
