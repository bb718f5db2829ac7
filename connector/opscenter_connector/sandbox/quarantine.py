"""Where what a command planted is put: out of the folder, so that nothing obeys it any more."""

import os
import time
from contextlib import suppress
from pathlib import Path

from opscenter_connector.sandbox import walking

MARK = "quarantined"
MAX_NAME = 100  # of the original's name in the new one


def move(root: int, path: str, into: Path | None) -> str | None:
    """Where it is now, or None if it is gone. Links on the way are not followed."""
    try:
        with walking.parent(root, path) as (at, name):
            return _moved(at, path, name, into)
    except OSError:
        return None


def _moved(at: int, path: str, name: str, into: Path | None) -> str:
    new = f"{time.time_ns()}-{path.replace('/', '-')[-MAX_NAME:]}"
    if into is not None:
        with suppress(OSError):  # most often another file system, which has no way for a rename
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(name, into / new, src_dir_fd=at)
            return str(into / new)
    beside = f"{name[:MAX_NAME]}.{MARK}-{time.time_ns()}"
    os.rename(name, beside, src_dir_fd=at, dst_dir_fd=at)
    return str(Path(path).parent / beside)
