"""Each allowed folder for one connector: two would take each other's commands for what they saw.

What is new in a folder while a command runs is the command's, and is put away. That holds only
where nobody else's commands run in it, or in a folder around it or within.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def claimed(roots: Sequence[Path]) -> Iterator[str]:
    """Have them to oneself; or the folder that another connector has, and then none is had.

    The locks are on the folders themselves, so that it does not matter where the state lies. They
    end with the process, however that ends.
    """
    wanted = list(dict.fromkeys(path.resolve() for path in roots))
    around = {above for path in wanted for above in path.parents if _is_ours(above)}
    with ExitStack() as kept:
        taken = ""
        for path, how in (
            *((path, fcntl.LOCK_EX) for path in wanted),
            *((path, fcntl.LOCK_SH) for path in sorted(around - set(wanted))),
        ):
            if not _locked(path, how, kept):
                taken = str(path)
                kept.close()
                break
        yield taken


def _is_ours(folder: Path) -> bool:
    """Others' folders need no lock: nobody but who may write there runs commands in them."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _locked(folder: Path, how: int, kept: ExitStack) -> bool:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True  # what cannot be opened is told by whoever wants to work there
    kept.callback(os.close, fd)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
