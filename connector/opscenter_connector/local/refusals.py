"""Which folders nobody may allow: an agent in them would hold the machine or this connector."""

import contextlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from opscenter_connector.local import networks

# Of the system, on Linux and macOS: neither they nor anything in them.
SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin"),
    *("/sys", "/usr/bin", "/usr/lib", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin"),
    *("/usr/sbin", "/var/lib", "/var/run"),
    *("/Library", "/System", "/private/etc"),
)
# Everybody's: others could put something in the way of a tool, and programs rely on what is there.
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/private/tmp", "/private/var/tmp")  # noqa: S108 (they are refused, not used)
HOMES = ("/home", "/root", "/Users", "/var/root")
# In a home, where keys and the settings of other programs are.
SECRET = (".aws", ".config", ".docker", ".gnupg", ".kube", ".local/share/keyrings", ".ssh")
SECRET_MACOS = ("Library",)


def refused(path: Path, own: Iterable[Path]) -> str:
    """Why the folder at `path`, a real one, is not allowed; or nothing. `own`: this program's."""
    if not path.is_dir():
        return "it is no folder"
    for reason in (_of_system(path), _of_home(path, _homes()), _of_connector(path, own)):
        if reason:
            return reason
    if kind := networks.kind_of(path):
        return (
            f"it lies on another machine or behind a program ({kind}), where links, locks and "
            "renames do not keep what is said here; work in a copy on a disk of this machine"
        )
    if path.stat().st_mode & stat.S_IWOTH:
        return f"every user of this machine may write in it: chmod o-w {path}"
    return ""


def _of_system(path: Path) -> str:
    if path == Path("/"):
        return "it is the whole machine; name the folder of a project"
    temporary = {Path(name) for name in (*TEMPORARY, tempfile.gettempdir())}
    for folder in temporary | {folder.resolve() for folder in temporary}:
        if _holds(path, folder):
            return "it is a folder for temporary files, of everybody; name one of your own in it"
    for name in SYSTEM:
        if _holds(Path(name), path) or _holds(path, Path(name)):
            return "it belongs to the system; name the folder of a project"
    return ""


def _of_home(path: Path, homes: Sequence[Path]) -> str:
    for home in (*homes, *map(Path, HOMES)):
        if _holds(path, home):
            return "it holds a whole home, with keys and settings; name the folder of a project"
        for name in (*SECRET, *SECRET_MACOS):
            if _holds(home / name, path):
                return "keys and settings of other programs are there; name the folder of a project"
    return ""


def _of_connector(path: Path, own: Iterable[Path]) -> str:
    for file in own:
        if _holds(path, file):
            return (
                f"the connector's own {file} is in it, by which an agent could change what it may "
                "do; move that elsewhere, or name a folder that does not hold it"
            )
    return ""


def _homes() -> list[Path]:
    """As the environment says and as the system does; they need not agree."""
    found = {Path("~").expanduser().resolve()}
    with contextlib.suppress(KeyError):  # a user without a name, as in containers
        found.add(Path(pwd.getpwuid(os.getuid()).pw_dir).resolve())
    return sorted(found - {Path("/")})


def _holds(folder: Path, path: Path) -> bool:
    return path == folder or folder in path.parents
