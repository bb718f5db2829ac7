"""What the child does between the fork and the program: its files, bounds and confinement."""

import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from opscenter_connector.confined import family, kernel, landlock
from opscenter_connector.confined.order import FIRST_FD, Confinement, Order

PARKED = 200  # above every number that a file is to get
FAILED = 127  # as a shell has it for a program that could not be started


def become(order: Order, *, out: int, err: int, folders: Sequence[int], failed: int) -> NoReturn:
    """Turn into the command. `failed` is a pipe that closes by itself if that works."""
    try:
        _become(order, out, err, folders, failed)
    except BaseException as error:  # nothing else of this process may go on
        with contextlib.suppress(OSError):
            os.write(failed, f"{type(error).__name__}: {error}"[:500].encode())
        os._exit(FAILED)


def _become(order: Order, out: int, err: int, folders: Sequence[int], failed: int) -> NoReturn:
    os.setsid()
    _default_signals()
    failed = fcntl.fcntl(failed, fcntl.F_DUPFD_CLOEXEC, PARKED)
    _place(order, out, err, folders)
    _close_between(FIRST_FD + len(order.blobs) + len(folders), failed)
    os.closerange(failed + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os.chdir(order.cwd)
    os.umask(0o022)
    with contextlib.suppress(OSError):  # the kernel is to end this before what people work in
        Path("/proc/self/oom_score_adj").write_text("1000")
    _bound(order)
    if order.confinement is not None:
        _confine(order.confinement, folders, FIRST_FD + len(order.blobs))
    os.execve(order.argv[0], order.argv, order.env)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _place(order: Order, out: int, err: int, folders: Sequence[int]) -> None:
    """Input, outputs, blobs and folders at their numbers."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = {0: nothing, 1: out, 2: err}
    for number, fd in enumerate([*map(_holding, order.blobs), *folders], FIRST_FD):
        wanted[number] = fd
    parked = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, PARKED) for number, fd in wanted.items()}
    for number, fd in parked.items():
        os.dup2(fd, number, inheritable=True)
        os.close(fd)


def _close_between(first: int, after: int) -> None:
    os.closerange(3, FIRST_FD)
    os.closerange(first, after)


def _holding(blob: bytes) -> int:
    """An open file with nothing but this in it."""
    fd = os.memfd_create("opscenter")
    at = 0
    while at < len(blob):
        at += os.write(fd, blob[at:])
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _bound(order: Order) -> None:
    bounds = order.bounds
    # The keeper ends what takes too long. Should it be killed, what is left ends by itself.
    cpu_s = int(bounds.within_s * (os.cpu_count() or 1)) + 1
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        # Not RLIMIT_AS: V8, WebAssembly and Go reserve far more addresses than they ever use.
        (resource.RLIMIT_DATA, bounds.data_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
    ]
    if order.counts_others:
        taken = family.tasks_of(os.getuid())
        limits.append((resource.RLIMIT_NPROC, taken + bounds.processes))
    for kind, value in limits:
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def _confine(confinement: Confinement, folders: Sequence[int], first: int) -> None:
    read = landlock.opened(confinement.read)
    write = [*range(first, first + len(folders)), *landlock.opened(confinement.write)]
    devices = landlock.opened(confinement.devices)
    landlock.restrict(confinement.abi, read=read, write=write, devices=devices)
    for fd in (*read, *devices, *write):
        os.close(fd)
    kernel.filter_calls(confinement.program)
