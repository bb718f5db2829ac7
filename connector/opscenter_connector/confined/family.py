"""The processes below one process, what they use, and their end."""

import os
import resource
import signal
import sys
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
LINUX = sys.platform == "linux"


def below(pid: int) -> list[int]:
    """All descendants; those that came a moment ago may be missing."""
    found: list[int] = []
    todo = [pid]
    while todo:
        next_ones = children(todo.pop())
        found += next_ones
        todo += next_ones
    return found


def children(pid: int) -> list[int]:
    """Those of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            said = Path(f"/proc/{pid}/task/{thread}/children").read_text()
            found += map(int, said.split())
    except OSError:
        pass  # it has ended meanwhile
    return found


def resident_bytes(pids: list[int]) -> int:
    """What they have in memory; what they share is counted for each."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
    return total


def proportional_bytes(pids: list[int]) -> int:
    """The same, with what is shared counted once. Dearer: asked only where it matters."""
    total = 0
    for pid in pids:
        try:
            said = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            total += resident_bytes([pid])
            continue
        total += sum(int(line.split()[1]) for line in said.splitlines() if line.startswith("Pss:"))
    return total * 1024


def available_bytes() -> int:
    """What programs of this machine can still have."""
    try:
        said = Path("/proc/meminfo").read_text()
    except OSError:
        return sys.maxsize
    line = next((one for one in said.splitlines() if one.startswith("MemAvailable:")), None)
    return int(line.split()[1]) * 1024 if line else sys.maxsize


def tasks_of(uid: int) -> int:
    """How many threads a user has, which is what RLIMIT_NPROC counts."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            status = os.stat(f"/proc/{name}/task")
        except OSError:
            continue
        if status.st_uid == uid:
            total += status.st_nlink - 2
    return total


def kill(pids: list[int]) -> None:
    """First nobody may fork any more, then all are ended: a bomb cannot outrun this."""
    for pid in pids:
        _quiet(pid)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def _quiet(pid: int) -> None:
    if not LINUX:
        return
    try:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
        os.kill(pid, signal.SIGSTOP)
    except (OSError, ValueError):
        return


def reap() -> tuple[dict[int, int], bool]:
    """The exit statuses of children that have ended, and whether any child is left."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if pid == 0:
            return ended, True
        ended[pid] = status
