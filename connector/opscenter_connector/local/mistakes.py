"""What a model is told when a tool cannot do what it asks: what is wrong, and what to do next."""

import errno
import os
from collections.abc import Callable

from opscenter_connector.local.beneath import LeftError


class ToolError(Exception):
    """The tool did nothing. The text is for the model."""


NOTHING_CHANGED = "nothing was changed"

_SAY: dict[int, Callable[[str], str]] = {
    errno.ENOENT: lambda path: (
        f"there is no {path}. List its folder with list_directory, or look for it with glob"
    ),
    errno.ENOTDIR: lambda path: (
        f"{path} is no folder, or a part of it is none. Look at what is there with list_directory"
    ),
    errno.EISDIR: lambda path: f"{path} is a folder. List it with list_directory",
    errno.ELOOP: lambda path: (
        f"{path} is a symbolic link or goes through one, which is not followed here. "
        "Name the file that the link points to, by its own path"
    ),
    errno.EXDEV: lambda path: (
        f"{path} leads out of the allowed folders. Work with files inside them"
    ),
    errno.EACCES: lambda path: (
        f"{path} may not be opened by the user who runs the connector. Work with another file, or "
        "ask the person to change its permissions"
    ),
    errno.ENAMETOOLONG: lambda path: "a name in the path is too long. Use a shorter one",
    errno.ENOSPC: lambda path: (
        f"the disk is full; {NOTHING_CHANGED}. Remove something, or ask the person to"
    ),
    errno.EDQUOT: lambda path: (
        f"the user's share of the disk is used up; {NOTHING_CHANGED}. Remove something, or ask "
        "the person to"
    ),
    errno.EFBIG: lambda path: f"{path} would become too large; {NOTHING_CHANGED}",
    errno.EROFS: lambda path: (
        f"{path} lies on a read-only file system; {NOTHING_CHANGED}. Write somewhere else"
    ),
    errno.EMFILE: lambda path: "the connector has too many files open. Try again in a moment",
    errno.ENFILE: lambda path: "the machine has too many files open. Try again in a moment",
    # A pipe or a socket that nobody serves.
    errno.ENXIO: lambda path: f"{path} is no regular file. Only regular files are read and written",
}
_SAY[errno.EPERM] = _SAY[errno.EACCES]


def explained(error: OSError, path: str) -> ToolError:
    """What the system said about `path`, in words."""
    number = errno.EXDEV if isinstance(error, LeftError) else error.errno or 0
    say = _SAY.get(number)
    if say is None:
        return ToolError(f"{path}: {os.strerror(number).lower()}; {NOTHING_CHANGED}")
    return ToolError(say(path))
