"""The directory of instance and journal, which make a connector the same one after a restart."""

import fcntl
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

OWNER_ONLY = 0o700  # the journal holds results; its files are 0600 besides


class StateDirError(Exception):
    """The directory cannot be used. The text says why and what to do."""


def default(environ: Mapping[str, str]) -> Path:
    """Where the state lies unless somebody says otherwise; systemd does in its own way."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "opscenter-connector"
    xdg = environ.get("XDG_STATE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else home / ".local" / "state"
    return base / "opscenter-connector"


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Have the directory to oneself. The lock ends with the process, however that ends."""
    try:
        state_dir.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateDirError(f"{state_dir} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateDirError(
                f"another connector uses {state_dir}; stop it, or give this one its own --state-dir"
            ) from error
        yield
    finally:
        os.close(lock)


def in_use(state_dir: Path) -> bool:
    """Whether a connector has the directory now. Nothing is made, and nobody kept out."""
    try:
        lock = os.open(state_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def instance(state_dir: Path) -> str:
    """The UUID of this machine's connector; made at its first start, and the same ever after."""
    path = state_dir / "instance"
    try:
        if not path.exists():
            _write_once(path, f"{uuid.uuid4()}\n")
        return str(uuid.UUID(path.read_text("ascii").strip()))
    except OSError as error:
        raise StateDirError(f"{path} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise StateDirError(f"{path} does not hold a UUID; remove it to get a new one") from error


def sync_directory(directory: Path) -> None:
    """Make names that were created or renamed there survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all; who comes second leaves what is there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".instance-")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
        sync_directory(path.parent)
    finally:
        Path(name).unlink()
