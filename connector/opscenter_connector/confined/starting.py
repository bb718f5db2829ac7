"""How a command is started: its files, bounds and confinement, and then the program itself.

Bounds are set for this process, which has no use for more, and inherited. Confinement is set for a
thread that starts the program and ends: nothing else of this process is confined, and no copy of it
has to be made.
"""

import contextlib
import fcntl
import os
import resource
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from opscenter_connector.confined import family, kernel, landlock, memory
from opscenter_connector.confined.order import FIRST_FD, Confinement, Order

PARKED = 200  # above every number that a file is to get


def started(order: Order, *, out: int, err: int, folders: Sequence[int]) -> int:
    """The first process of the command. The given files are closed here. Raises OSError."""
    parked = _parked([os.open(os.devnull, os.O_RDONLY), out, err])
    extra = _parked([*map(memory.holding, order.blobs), *folders])
    roots = extra[len(order.blobs) :]
    # Bubblewrap takes the folders, and closes them. Otherwise only this process has use for them.
    given = extra if order.confinement is None else extra[: len(order.blobs)]
    wanted = {**dict(enumerate(parked)), **dict(enumerate(given, FIRST_FD))}
    os.chdir(order.cwd)
    os.umask(0o022)
    _bound(order)
    try:
        if order.confinement is None:
            return _spawned(order, wanted)
        return _on_a_thread(order, order.confinement, roots, wanted)
    finally:
        os.chdir("/")  # to keep nobody from removing the folder
        for fd in (*parked, *extra):
            os.close(fd)


def _on_a_thread(
    order: Order, confinement: Confinement, roots: Sequence[int], wanted: dict[int, int]
) -> int:
    found: list[int | OSError] = []

    def work() -> None:
        try:
            _confine(confinement, roots)
            found.append(_spawned(order, wanted))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [result] = found or [OSError("the thread that was to start it has ended")]
    if isinstance(result, OSError):
        raise result
    return result


def _spawned(order: Order, wanted: dict[int, int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in wanted.items()]
    return os.posix_spawn(
        order.argv[0],
        order.argv,
        order.env,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def _parked(files: Sequence[int]) -> list[int]:
    """The same files at numbers that are in nobody's way, closed in the program by themselves."""
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, PARKED) for fd in files]
    for fd in files:
        os.close(fd)
    return parked


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
    if order.counts_others and family.LINUX:
        taken = family.tasks_of(os.getuid())
        limits.append((resource.RLIMIT_NPROC, taken + bounds.processes))
    for kind, value in limits:
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError):  # the kernel is to end this before what people work in
        Path("/proc/self/oom_score_adj").write_text("1000")


def _confine(confinement: Confinement, roots: Sequence[int]) -> None:
    read = landlock.opened(confinement.read)
    write = landlock.opened(confinement.write)
    devices = landlock.opened(confinement.devices)
    landlock.restrict(confinement.abi, read=read, write=[*roots, *write], devices=devices)
    for fd in (*read, *devices, *write):
        os.close(fd)
    kernel.filter_calls(confinement.program)
