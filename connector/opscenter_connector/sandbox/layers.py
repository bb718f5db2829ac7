"""What a sandbox is, as plain data: its layers, their self-test, bounds and outcomes (pure)."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from opscenter_connector.confined import order

MIB, GIB = 1024 * 1024, 1024 * 1024 * 1024


class Layer(str, Enum):
    """What holds a command, best first."""

    BUBBLEWRAP = "bubblewrap"  # A: namespaces, seccomp, bounds
    LANDLOCK = "landlock"  # B: Landlock, seccomp, bounds
    SEATBELT = "seatbelt"  # macOS; not proven
    NONE = "none"  # C: nothing; a person approves each exact command, or it does not run


class Ended(str, Enum):
    """Why a command is over."""

    EXIT = order.EXIT
    TIMEOUT = order.TIMEOUT
    OUTPUT = "output"
    DISK = order.DISK
    MEMORY = order.MEMORY
    PROCESSES = order.PROCESSES
    STOPPED = order.STOPPED


class SandboxError(Exception):
    """The command was not run. The text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One attempt of the self-test to get out."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A folder that commands may write, and which one it was when that was said."""

    path: Path
    device: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What commands of this run are held by, as the self-test found it."""

    layer: Layer
    canaries: tuple[Canary, ...] = ()
    why: str = ""  # why no better layer, and what a person can do about it
    roots: tuple[Root, ...] = ()
    quarantine: Path | None = None  # where what a command planted is moved

    @property
    def notes(self) -> Path | None:
        """Beside it: where it is told what was in the folders before a command."""
        return self.quarantine and self.quarantine.with_name("commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one command may use, with all that it starts."""

    file_bytes: int = 64 * MIB  # one file; more is rarely source, and fills a disk in steps
    data_bytes: int = 2 * GIB  # of one process
    memory_bytes: int = 4 * GIB  # of all
    processes: int = 128  # threads count; a build with -j16 has a fifth of it
    open_files: int = 512
    disk_bytes: int = 2 * GIB
    free_bytes: int = 1 * GIB
    new_files: int = 100_000
    kept_bytes: int = 64 * 1024  # of each output: half of it from the beginning, half from the end
    output_bytes: int = 64 * MIB  # that is read at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """Something under a protected name that a command left behind, and what became of it."""

    path: str
    place: str  # where it is now: its own path where it is as it was; "": it could not be moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one command."""

    stdout: str
    stderr: str
    returncode: int | None  # as of a shell: 128 and more for a signal
    ended: Ended
    quarantined: tuple[str, ...] = ()
    places: tuple[str, ...] = ()  # of those, in their order: where they are now
    planted: tuple[str, ...] = ()  # what should be in quarantine, and could not be moved there
    duration_s: float = 0.0
    layer: Layer = Layer.NONE
    left_out_bytes: int = field(default=0)  # of both outputs
