"""Layer A: the command line of bubblewrap. Everything is absent unless it stands here (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.confined.order import FIRST_FD, Bounds, Order
from opscenter_connector.sandbox import shell
from opscenter_connector.sandbox.layers import MIB

HOME = "/home/agent"
TEMPORARY_BYTES, HOME_BYTES, RUN_BYTES, SHARED_BYTES = 256 * MIB, 64 * MIB, MIB, 64 * MIB
UNPRIVILEGED = 1000  # what root is inside

ISOLATED = (
    "--unshare-user",
    "--unshare-all",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    "--cap-drop",
    "ALL",
    "--hostname",
    "sandbox",
)
MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")  # links into /usr on most systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the command line depends on."""

    bwrap: str
    uid: int
    gid: int
    links: tuple[tuple[str, str], ...]  # (/bin, usr/bin) where it is one
    folders: tuple[str, ...]  # of MERGED, where they are folders of their own
    program: bytes  # of seccomp


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Something of this machine that a command sees, at its own path."""

    path: Path
    writable: bool


def order(
    machine: Machine,
    *,
    command: str,
    cwd: Path,
    binds: Sequence[Bind],
    watched: Sequence[Path],
    bounds: Bounds,
) -> Order:
    """What is bound is given as open files, in this order: what comes later lies on top."""
    blobs = [machine.program, *_people(machine)]
    files = [str(FIRST_FD + number) for number in range(len(blobs))]
    script = shell.script(command, blobs_before=len(blobs))
    if script.blob is not None:
        blobs.append(script.blob)
    first_bind = FIRST_FD + len(blobs)
    argv = [machine.bwrap, *ISOLATED]
    if machine.uid == 0:
        argv += ["--uid", str(UNPRIVILEGED), "--gid", str(UNPRIVILEGED)]
    for name, value in shell.environment(HOME, "/tmp").items():  # noqa: S108 - the sandbox's own
        argv += ["--setenv", name, value]
    argv += _system(machine, files)
    for number, bind in enumerate(binds, first_bind):
        argv += ["--bind-fd" if bind.writable else "--ro-bind-fd", str(number), str(bind.path)]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(cwd)]
    argv += ["--seccomp", files[0], "--", *_limited(bounds, script.argv)]
    return Order(
        argv=tuple(argv),
        env={"PATH": shell.PATH},
        cwd="/",
        bounds=bounds,
        watched=tuple(map(str, watched)),
        blobs=tuple(blobs),
    )


def _limited(bounds: Bounds, argv: Sequence[str]) -> list[str]:
    """Set inside, the bound counts the sandbox's own processes and not the person's."""
    return [shell.BASH, "-c", f'ulimit -u {bounds.processes}; exec "$@"', "bash", *argv]


def _system(machine: Machine, files: Sequence[str]) -> list[str]:
    argv: list[str] = []
    for path in ("/usr", *shell.SYSTEM):
        argv += ["--ro-bind-try", path, path]
    for path, target in machine.links:
        argv += ["--symlink", target, path]
    for path in machine.folders:
        argv += ["--ro-bind", path, path]
    for path in shell.SETTINGS:
        argv += ["--ro-bind-try", path, path]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    for size, path in (
        (SHARED_BYTES, "/dev/shm"),  # noqa: S108 - the sandbox's own
        (TEMPORARY_BYTES, "/tmp"),  # noqa: S108 - the sandbox's own
        (HOME_BYTES, HOME),
        (RUN_BYTES, "/run"),
    ):
        argv += ["--size", str(size), "--tmpfs", path]
    _, passwd, group, git = files
    argv += ["--ro-bind-data", passwd, "/etc/passwd", "--ro-bind-data", group, "/etc/group"]
    return [*argv, "--file", git, f"{HOME}/.gitconfig"]


def _people(machine: Machine) -> list[bytes]:
    """One user, so that programs that ask for a name get one; nobody of this machine."""
    uid, gid = machine.uid or UNPRIVILEGED, machine.gid or UNPRIVILEGED
    passwd = f"agent:x:{uid}:{gid}::{HOME}:{shell.BASH}\n"
    return [passwd.encode(), f"agent:x:{gid}:\n".encode(), shell.GIT_CONFIG]
