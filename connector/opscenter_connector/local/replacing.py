"""Puts the new content of a file in place: all of it at once, or nothing of it."""

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opscenter_connector.local import gitlike
from opscenter_connector.local.mistakes import NOTHING_CHANGED, ToolError, explained
from opscenter_connector.local.roots import Spot

# A file of this name where a person starts the connector says what it may do and what it starts.
OWN_NAME = "connector.toml"

# Calls run beside each other: none may come between another's last look and its rename.
_one_at_a_time = threading.Lock()

Identity = tuple[int, int, int, int]  # of a file at one moment: where, and as it was written last


def identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def put(spot: Spot, content: bytes, *, over: Identity | None = None) -> bool:
    """Write it, and say whether the file is new. Raises ToolError, and then nothing has changed.

    `over` is the file as it was when somebody read it: another one is not replaced.
    """
    _allowed(spot)
    try:
        with _folder(spot) as folder:
            return _put(folder, spot, content, over)
    except OSError as error:
        raise explained(error, spot.shown) from None


def _allowed(spot: Spot) -> None:
    if not spot.parts:
        raise ToolError(f"{spot.shown} is a folder. Name a file in it")
    if spot.parts[-1].casefold() == OWN_NAME:
        raise ToolError(
            f"{OWN_NAME} is the connector's own configuration, which no tool writes. Tell the "
            "person what to change in it"
        )
    gitlike.refuse(spot)


def _put(folder: int, spot: Spot, content: bytes, over: Identity | None) -> bool:
    name = spot.parts[-1]
    before = _replaceable(folder, spot)
    # A name that nobody can have put a link at, in the same folder: only there is a rename atomic.
    temporary = f".{secrets.token_hex(8)}.tmp"
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                os.fchmod(descriptor, mode)  # what the umask has taken away
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with _one_at_a_time:
            _unchanged(folder, spot, before, over)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot; the file is in place
        os.fsync(folder)
    return before is None


def _replaceable(folder: int, spot: Spot) -> os.stat_result | None:
    """What has the name now. Raises ToolError where that must stay."""
    found = _look(folder, spot.parts[-1])
    if found is None:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise ToolError(
            f"{spot.shown} is a symbolic link, and is not written through. Name the file that it "
            "points to"
        )
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise ToolError(f"{spot.shown} is {kind}. Choose another name")
    if found.st_nlink > 1:
        raise ToolError(
            f"{spot.shown} has {found.st_nlink} names (hard links), of which some may lie outside "
            "the allowed folders. Write to a new name, or make it a file of its own with bash: "
            "cp FILE FILE.new && mv FILE.new FILE"
        )
    _writable(folder, spot.parts[-1])
    return found


def _writable(folder: int, name: str) -> None:
    """A rename would put even a write-protected file aside. Raises OSError."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, dir_fd=folder))
    except OSError as error:
        if error.errno != errno.ETXTBSY:  # a program that runs goes on with what it was
            raise


def _look(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _unchanged(
    folder: int, spot: Spot, before: os.stat_result | None, over: Identity | None
) -> None:
    """Nobody was faster, and the folder is still where its path says. Raises ToolError."""
    now = _look(folder, spot.parts[-1])
    was = None if before is None else identity(before)
    if (None if now is None else identity(now)) != was or over not in {None, was}:
        raise ToolError(
            f"{spot.shown} was changed by somebody else meanwhile; {NOTHING_CHANGED}. Read it "
            "again, and then write"
        )
    there = spot.folder.opened(os.O_RDONLY | os.O_DIRECTORY)
    try:
        moved = not os.path.sameopenfile(there, folder)
    finally:
        os.close(there)
    if moved:
        raise ToolError(
            f"the folder of {spot.shown} was moved meanwhile; {NOTHING_CHANGED}. Look where it is "
            "now with list_directory"
        )


@contextmanager
def _folder(spot: Spot) -> Iterator[int]:
    """The folder that the file lies in or will, made if it is not there."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        descriptor = spot.folder.opened(flags)
    except FileNotFoundError:
        descriptor = _made(spot, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _made(spot: Spot, flags: int) -> int:
    """Each folder on the way, one in the other. A link is none."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.open(".", flags, dir_fd=spot.root.descriptor)
    try:
        for part in spot.folder.parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=at)
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at
