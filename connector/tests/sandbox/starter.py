"""What the program leaves open from which a person starts theirs, as a shell or an editor may."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sandbox.attacks import CANARY


@contextmanager
def left_open() -> Iterator[list[int]]:
    """A file and a folder that whoever starts the person's programs has left open."""
    with tempfile.TemporaryDirectory(prefix="opscenter-starter-") as folder:
        secret = Path(folder, "secret.txt")
        secret.write_text(CANARY)
        secret.chmod(0o644)
        Path(folder).chmod(0o755)
        with secret.open() as file:
            at = os.open(folder, os.O_RDONLY)
            # Above the numbers that a command's own files are given.
            files = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 60) for fd in (file.fileno(), at)]
            os.close(at)
        try:
            yield files
        finally:
            for fd in files:
                os.close(fd)
