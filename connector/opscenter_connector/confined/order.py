"""What the connector asks of the far side, and what it is told (pure)."""

import base64
import json
from dataclasses import dataclass

FIRST_FD = 10  # where a command finds its blobs, and after them its folders
MEMORY, PROCESSES, DISK, TIMEOUT, EXIT = "memory", "processes", "disk", "timeout", "exit"
STOPPED, BROKEN = "stopped", "broken"
END = b"\n"  # of a report: to wait for the keeper's own end would take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """Layer B. Folders are given as open files, the rest by name."""

    abi: int
    read: tuple[str, ...]
    write: tuple[str, ...]
    devices: tuple[str, ...]
    program: bytes  # of seccomp


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the whole tree of a command may use."""

    within_s: float
    file_bytes: int  # one file
    data_bytes: int  # of one process
    open_files: int
    processes: int
    memory_bytes: int
    disk_bytes: int  # that it may fill
    free_bytes: int  # that must be left on the disk
    new_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command, to be started exactly so."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    bounds: Bounds
    watched: tuple[str, ...]  # folders whose disk is watched
    blobs: tuple[bytes, ...] = ()
    confinement: Confinement | None = None
    scratch: str = ""  # a folder for this command alone, removed after it
    counts_others: bool = False  # the bound of processes is one of the user, not of a namespace

    def encode(self) -> bytes:
        return json.dumps(_members(self), default=_text).encode()

    @classmethod
    def decode(cls, said: bytes) -> "Order":
        found = json.loads(said)
        inner = found["confinement"]
        if inner is not None:
            inner = Confinement(
                abi=inner["abi"],
                read=tuple(inner["read"]),
                write=tuple(inner["write"]),
                devices=tuple(inner["devices"]),
                program=base64.b64decode(inner["program"]),
            )
        return cls(
            argv=tuple(found["argv"]),
            env=found["env"],
            cwd=found["cwd"],
            bounds=Bounds(**found["bounds"]),
            watched=tuple(found["watched"]),
            blobs=tuple(base64.b64decode(blob) for blob in found["blobs"]),
            confinement=inner,
            scratch=found["scratch"],
            counts_others=found["counts_others"],
        )


def _members(value: object) -> dict[str, object]:
    """Not `asdict`, which copies every text of megabytes."""
    return {name: getattr(value, name) for name in value.__slots__}  # type: ignore[attr-defined]


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Bounds | Confinement):
        return _members(value)
    raise TypeError(f"{type(value).__name__} has no place in an order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a command ended. Nothing of it is left when this is said, unless `left` says so."""

    ended: str
    status: int | None = None  # as of a shell: 128 and more for a signal
    detail: str = ""
    left: int = 0

    def encode(self) -> bytes:
        return json.dumps(_members(self)).encode() + END

    @classmethod
    def decode(cls, said: bytes) -> "Report":
        return cls(**json.loads(said))
