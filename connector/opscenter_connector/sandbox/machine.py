"""What this machine has for a sandbox: bubblewrap, Landlock, and which calls its filter needs."""

import os
import platform
import shutil
import stat
from functools import cache
from pathlib import Path

from opscenter_connector.confined import seccomp
from opscenter_connector.sandbox.bubblewrap import MERGED, Machine
from opscenter_connector.sandbox.layers import SandboxError

PATH = "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"  # never the person's own


def bwrap() -> str:
    """Where it lies. Raises SandboxError with what to do."""
    found = shutil.which("bwrap", path=PATH)
    if found is None:
        raise SandboxError(
            "bubblewrap is not installed; install it: sudo apt-get install bubblewrap"
        )
    if os.stat(found).st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise SandboxError(
            f"{found} runs as another user (setuid), which has been a way to become root; "
            f"sudo chmod u-s,g-s {found}"
        )
    return found


@cache
def program(*, alone: bool) -> bytes:
    """The filter of system calls. Raises SandboxError."""
    try:
        return seccomp.program(platform.machine(), alone=alone)
    except KeyError:
        raise SandboxError(
            f"for a machine of the kind {platform.machine()} there is no filter of system calls; "
            "x86_64 and aarch64 have one"
        ) from None


@cache
def seen() -> Machine:
    """As layer A needs it. Raises SandboxError."""
    found = [Path("/", name) for name in MERGED]
    return Machine(
        bwrap=bwrap(),
        uid=os.geteuid(),
        gid=os.getegid(),
        links=tuple((str(path), os.readlink(path)) for path in found if path.is_symlink()),
        folders=tuple(str(path) for path in found if path.is_dir() and not path.is_symlink()),
        program=program(alone=True),
    )


def no_landlock_for_root() -> str:
    """Why layer B is not for who runs this: root may do too much that Landlock does not govern."""
    if os.geteuid() != 0:
        return ""
    return "root is not confined well enough by Landlock; run the connector as an ordinary user"
