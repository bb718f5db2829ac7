"""The folders of one command, opened: those of the start, and nothing put in their place."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opscenter_connector.sandbox.layers import Root, SandboxError


def root(path: Path) -> Root:
    """Which folder that is now. Raises SandboxError."""
    try:
        found = os.stat(path)
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SandboxError(f"the allowed folder {path} cannot be used: {error}") from None
    if not real.is_dir():
        raise SandboxError(f"the allowed path {path} is no folder; allow the folder it lies in")
    return Root(path=real, device=found.st_dev, inode=found.st_ino)


def known(path: Path, roots: Sequence[Root]) -> Root:
    """The one of the start with that path. Raises SandboxError where there is none."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        real = path
    found = next((one for one in roots if one.path in (path, real)), None)
    if found is None:
        raise SandboxError(f"{path} is not a folder that was allowed at the start")
    return found


@contextmanager
def opened(roots: Sequence[Root]) -> Iterator[list[int]]:
    """Each as an open folder. Raises SandboxError where it is gone or another one by now."""
    found: list[int] = []
    try:
        for one in roots:
            found.append(_open(one))  # noqa: PERF401 - those before one that fails are to be closed
        yield found
    finally:
        for fd in found:
            os.close(fd)


def _open(one: Root) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(one.path, flags)
    except OSError as error:
        raise SandboxError(
            f"the allowed folder {one.path} cannot be opened any more ({error.strerror}); "
            "put it back, or start the connector again"
        ) from None
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) == (one.device, one.inode):
        return fd
    os.close(fd)
    raise SandboxError(
        f"{one.path} is not the folder that was allowed at the start; start the connector again"
    )


def below(cwd: Path, roots: Sequence[Root]) -> Path:
    """The folder to stand in. Raises SandboxError unless it lies in an allowed one."""
    try:
        real = cwd.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SandboxError(f"there is no folder {cwd} to run the command in") from None
    if not real.is_dir():
        raise SandboxError(f"{cwd} is no folder; name one to run the command in")
    if not any(real == one.path or one.path in real.parents for one in roots):
        allowed = ", ".join(str(one.path) for one in roots) or "none"
        raise SandboxError(f"{cwd} is outside the allowed folders ({allowed})")
    return real
