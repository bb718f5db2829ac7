"""What the kernel knows of a server: processor time, memory and threads of its process tree."""

import os
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat after the name: utime, stime, and the same of children that have ended.
CPU_FIELDS = slice(11, 15)
OWN_FIELDS = slice(11, 13)


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:  # the list grows while we walk it
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:  # a thread that ended while we looked
                continue
    return found


def cpu_s(pid: int) -> float:
    """Processor time that the tree has used so far."""
    total_s = 0.0
    for one in tree(pid):
        try:
            total_s += own_cpu_s(one, CPU_FIELDS)
        except OSError:  # a child that ended; its parent's fields now hold its time
            continue
    return total_s


def own_cpu_s(pid: int, fields: slice = OWN_FIELDS) -> float:
    """The same of this one process, without its children."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    ticks = sum(int(field) for field in stat.rpartition(")")[2].split()[fields])
    return ticks / TICKS_PER_S


def memory(pid: int) -> tuple[int, int]:
    """Resident KiB and the number of threads of the tree."""
    resident = threads = 0
    for kib, count in _weighed(pid):
        resident += kib
        threads += count
    return resident, threads


def largest(pid: int) -> int:
    """Resident KiB of the largest process of the tree: of a worker, where there are several."""
    return max(kib for kib, _ in _weighed(pid))


def _weighed(pid: int) -> Iterator[tuple[int, int]]:
    """Of each process of the tree: its resident KiB and its threads."""
    for one in tree(pid):
        try:
            fields = status(one)
        except OSError:  # a child that ended
            continue
        yield int(fields.get("VmRSS", "0 kB").split()[0]), int(fields.get("Threads", "0"))


def status(pid: int) -> dict[str, str]:
    """What the kernel says of one process, by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
