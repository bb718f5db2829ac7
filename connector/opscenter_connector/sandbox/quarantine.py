"""Where what a command planted is put: out of the folder, so that nothing obeys it any more."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from opscenter_connector.sandbox import walking

MARK = "quarantined"
MAX_NAME = 40  # characters of the original's name in the new one, which has 255 bytes
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Sweep:
    """One look through an allowed folder after a command, and what was found to be put right."""

    def __init__(self, root: int, into: Path | None) -> None:
        self.root = root
        self.found: list[str] = []  # moved away, or put back
        self.places: dict[str, str] = {}  # where those moved away are now
        self.left: list[str] = []  # what could not be moved, and is still there
        self._into = into

    def away(self, path: str) -> bool:
        """Whether it is not there any more. Links on the way are not followed."""
        try:
            with walking.changing(self.root, path) as (at, name):
                place = _move(at, path, name, self._into)
        except OSError as error:
            if error.errno not in GONE:
                self.left.append(path)
            return error.errno in GONE
        self.found.append(path)
        self.places[path] = place
        return True


def _move(at: int, path: str, name: str, into: Path | None) -> str:
    """Where it is now; beside, by the path of the folder."""
    if into is not None:
        new = f"{time.time_ns()}-{path.replace('/', '-')[-MAX_NAME:]}"
        with suppress(OSError):  # most often another file system, which has no way for a rename
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(name, into / new, src_dir_fd=at)
            return str(into / new)
    beside = f"{name[:MAX_NAME]}.{MARK}-{time.time_ns()}"
    os.rename(name, beside, src_dir_fd=at, dst_dir_fd=at)
    return os.path.join(os.path.dirname(path), beside)
