"""How a command comes to bash, which environment it has, and what it may not be (pure)."""

import math
from dataclasses import dataclass

from opscenter_connector.confined.order import FIRST_FD, Bounds
from opscenter_connector.sandbox.layers import Limits, SandboxError

BASH = "/bin/bash"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
# What programs read besides /usr. No names, no keys, nothing of this machine's own.
SYSTEM = ("/nix/store", "/gnu/store")
SETTINGS = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
MAX_COMMAND_BYTES = 2 * 1024 * 1024  # a frame of the tunnel has no more
# The kernel takes 128 KiB as one argument. What is longer comes as a file.
MAX_ARGUMENT_BYTES = 120_000
MAX_WITHIN_S = 600.0  # the tunnel's longest deadline

# Who commits inside, unless the repository says so itself.
GIT_CONFIG = b"""[user]
\tname = Ops-Center agent
\temail = agent@opscenter.invalid
[safe]
\tdirectory = *
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The arguments that run a command, and the file that one of them may name."""

    argv: tuple[str, ...]
    blob: bytes | None


def script(command: str, *, blobs_before: int) -> Script:
    """Raises SandboxError."""
    if "\0" in command:
        raise SandboxError("the command has a NUL character in it, which no shell takes; remove it")
    try:
        said = command.encode()
    except UnicodeEncodeError as error:
        raise SandboxError(f"the command is no text: {error.reason}") from None
    if len(said) > MAX_COMMAND_BYTES:
        raise SandboxError(
            f"the command has {len(said)} bytes, and {MAX_COMMAND_BYTES} is the most; "
            "write the data into a file first, in parts"
        )
    if len(said) <= MAX_ARGUMENT_BYTES:
        return Script(argv=(BASH, "-c", command), blob=None)
    return Script(argv=(BASH, f"/dev/fd/{FIRST_FD + blobs_before}"), blob=said)


def environment(home: str, temporary: str) -> dict[str, str]:
    """Made from nothing: no variable of the connector's goes to a command."""
    return {
        "PATH": PATH,
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": BASH,
        "TERM": "dumb",
        "GIT_CONFIG_NOSYSTEM": "1",  # it may not be read, and git stops at that
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "PAGER": "cat",
    }


def bounds(limits: Limits, within_s: float) -> Bounds:
    """Raises SandboxError for a time that is none."""
    if not 0 < within_s < math.inf:
        raise SandboxError(f"a command cannot be given {within_s} s; say a number above zero")
    return Bounds(
        within_s=min(within_s, MAX_WITHIN_S),
        file_bytes=limits.file_bytes,
        data_bytes=limits.data_bytes,
        open_files=limits.open_files,
        processes=limits.processes,
        memory_bytes=limits.memory_bytes,
        disk_bytes=limits.disk_bytes,
        free_bytes=limits.free_bytes,
        new_files=limits.new_files,
    )
