"""Files that lie nowhere, to hand bytes to another process."""

import os
import tempfile


def holding(content: bytes) -> int:
    """An open file with nothing but this in it, at its beginning. Raises OSError."""
    fd = _empty()
    try:
        at = 0
        while at < len(content):
            at += os.write(fd, content[at:])
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


def _empty() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("opscenter")
    with tempfile.TemporaryFile() as file:  # macOS has no memory without a name
        return os.dup(file.fileno())
