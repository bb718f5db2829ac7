"""One command from its start to the end of its last process."""

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from opscenter_connector.confined import family, kernel, removing, starting
from opscenter_connector.confined.order import (
    BROKEN,
    DISK,
    EXIT,
    MEMORY,
    PROCESSES,
    STOPPED,
    TIMEOUT,
    Bounds,
    Confinement,
    Order,
    Report,
)

LOOK_S = 0.15  # between two looks at what the tree uses
REAP_S = 0.005  # between two rounds of killing
END_S = 5.0  # then what is left hangs in the kernel, and is reported
BYTES_PER_MESSAGE = 1024
LEAST_MEMORY_BYTES = 512 * 1024 * 1024  # below it a machine stands still; half of less at the start


class Keeper:
    """Ends a command at its bounds, with its first process, and when nobody wants it any more."""

    def __init__(self, order: Order, control: socket.socket, awake: int) -> None:
        self._order = order
        self._control = control
        self._deadline_s = time.monotonic() + order.bounds.within_s
        self._awake = awake
        self._memory = Memory()
        self._disks = [Disk(path, order) for path in order.watched]
        self._status: int | None = None

    def run(self, out: int, err: int, folders: Sequence[int]) -> Report:
        """Start it, watch it, end it."""
        try:
            leader = starting.started(self._order, out=out, err=err, folders=folders)
        except OSError as error:
            return Report(ended=BROKEN, detail=str(error))
        ended = self._until_over(leader)
        left = self._end_all(leader)
        return Report(ended=ended, status=self._status, left=left)

    def _until_over(self, leader: int) -> str:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._awake, select.POLLIN)
        while True:
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                return TIMEOUT
            happened = {fd for fd, _ in poll.poll(min(left_s, LOOK_S) * 1000)}
            if self._control.fileno() in happened:
                return STOPPED  # asked to, or nobody is there any more
            if self._awake in happened:
                self._drain()
                if self._leader_is_over(leader):
                    return EXIT
            over = self._over_bounds()
            if over:
                return over

    def _drain(self) -> None:
        try:
            os.read(self._awake, BYTES_PER_MESSAGE)
        except BlockingIOError:
            return

    def _leader_is_over(self, leader: int) -> bool:
        ended, _ = family.reap()
        if leader in ended:
            self._status = _as_a_shell(ended[leader])
        return leader in ended

    def _over_bounds(self) -> str:
        bounds = self._order.bounds
        if any(disk.is_over for disk in self._disks):
            return DISK
        if not family.LINUX:
            return ""
        if self._memory.is_over:
            return MEMORY
        pids = family.below(os.getpid())
        if len(pids) > 2 * bounds.processes:  # its own bound does not hold for root
            return PROCESSES
        if family.resident_bytes(pids) > bounds.memory_bytes:
            return MEMORY if family.proportional_bytes(pids) > bounds.memory_bytes else ""
        return ""

    def _end_all(self, leader: int) -> int:
        """Kill until nothing is left; how many are, after all."""
        give_up_s = time.monotonic() + END_S
        while True:
            ended, any_left = family.reap()
            if leader in ended:
                self._status = _as_a_shell(ended[leader])
            if not any_left:
                return 0
            pids = family.below(os.getpid()) if family.LINUX else []
            if time.monotonic() > give_up_s:
                return len(pids)
            family.kill(pids)
            _kill_group(leader)
            select.select([self._awake], [], [], REAP_S)
            self._drain()


class Memory:
    """The machine's. What is in files without a name is in no process's account."""

    def __init__(self) -> None:
        self._least_bytes = min(LEAST_MEMORY_BYTES, family.available_bytes() // 2)

    @property
    def is_over(self) -> bool:
        return family.available_bytes() < self._least_bytes


class Disk:
    """The file system that a folder is on, and what it had at the start."""

    def __init__(self, path: str, order: Order) -> None:
        self._path = path
        self._bounds = order.bounds
        self._free_bytes, self._free_files = self._free()
        # Where there is little at the start, half of it may be used.
        self._least_bytes = min(self._bounds.free_bytes, self._free_bytes // 2)

    def _free(self) -> tuple[int, int]:
        found = os.statvfs(self._path)
        return found.f_bavail * found.f_frsize, found.f_favail

    @property
    def is_over(self) -> bool:
        try:
            free_bytes, free_files = self._free()
        except OSError:
            return True  # the folder is gone
        return (
            free_bytes < self._least_bytes
            or self._free_bytes - free_bytes > self._bounds.disk_bytes
            or self._free_files - free_files > self._bounds.new_files
        )


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError:
        return


def _as_a_shell(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def ready() -> int:
    """Make this process one that notices its children's ends: each is a byte in the given file."""
    awake, wake = os.pipe()
    for fd in (awake, wake):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    if family.LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    return awake


def rehearse() -> None:
    """Go through what is done between an order and its start, so that no command waits for it.

    Memory that is shared after a fork is copied when it is first touched, page by page.
    """
    bounds = Bounds(**dict.fromkeys(Bounds.__slots__, 1))
    confinement = Confinement(abi=0, read=(), write=(), devices=(), program=b"")
    order = Order(
        argv=("",), env={}, cwd="/", bounds=bounds, watched=("/",), confinement=confinement
    )
    Disk("/", Order.decode(order.encode()))
    Memory()
    family.tasks_of(os.getuid())
    Report.decode(Report(ended=EXIT).encode())


def keep(order: bytes, control: socket.socket, files: Sequence[int], awake: int) -> None:
    """The whole of it; the report goes to whoever asked, if they are still there."""
    out, err, *folders = files
    scratch = ""
    try:
        said = Order.decode(order)
        scratch = said.scratch
        report = Keeper(said, control, awake).run(out, err, folders)
    except Exception as error:  # whatever it is, somebody waits for an answer
        report = Report(ended=BROKEN, detail=f"{type(error).__name__}: {error}"[:500])
    with suppress(OSError):
        control.sendall(report.encode())
    if scratch and not report.left:
        removing.tree(scratch)  # a disk takes its time, and by now nobody waits
