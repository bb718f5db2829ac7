"""Files that lie nowhere, to hand bytes to another process."""

import os


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
    return _unnamed()


def _unnamed() -> int:
    """macOS has no memory without a name; a file loses its name at once."""
    path = os.path.join("/tmp", f"opscenter-{os.getpid()}-{os.urandom(16).hex()}")  # noqa: S108
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd
