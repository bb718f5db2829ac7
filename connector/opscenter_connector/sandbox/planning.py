"""From a command to the order that runs it, in the layer that holds here."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.confined import landlock, removing
from opscenter_connector.confined.order import Bounds, Order
from opscenter_connector.sandbox import (
    bare,
    bubblewrap,
    landlocked,
    machine,
    places,
    scratch,
    seatbelt,
    walking,
)
from opscenter_connector.sandbox.bubblewrap import Bind
from opscenter_connector.sandbox.guard import Guarded
from opscenter_connector.sandbox.layers import Layer, Root, SandboxError

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
WORK_TREE_READ_ONLY = ("commondir", "gitdir", "config.worktree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One command, with what is known of where it runs."""

    command: str
    cwd: Path
    roots: Sequence[Root]
    guarded: Sequence[Guarded]  # of each root
    bounds: Bounds

    @property
    def paths(self) -> list[Path]:
        return [root.path for root in self.roots]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What goes to the nursery."""

    order: Order
    files: tuple[int, ...]


@contextmanager
def planned(layer: Layer, wanted: Wanted) -> Iterator[Planned]:
    """While this is open, so is what the command needs. Raises SandboxError."""
    with ExitStack() as kept:
        folders = kept.enter_context(places.opened(wanted.roots))
        if layer is Layer.BUBBLEWRAP:
            yield _bubblewrap(wanted, folders, kept)
            return
        home = scratch.home()
        kept.push(lambda kind, *_: removing.tree(str(home)) if kind is SandboxError else None)
        if layer is Layer.LANDLOCK:
            yield Planned(order=_landlocked(wanted, home), files=tuple(folders))
            return
        before: tuple[str, ...] = ()
        if layer is Layer.SEATBELT:
            read_only = list(_protected(wanted))
            before = seatbelt.argv(seatbelt.profile(wanted.paths, home, read_only))
        order = bare.order(
            command=wanted.command,
            cwd=wanted.cwd,
            roots=wanted.paths,
            home=home,
            bounds=wanted.bounds,
            before=before,
        )
        yield Planned(order=order, files=())


def _protected(wanted: Wanted) -> Iterator[str]:
    for root, guarded in zip(wanted.roots, wanted.guarded, strict=True):
        for mount in guarded.mounts:
            if not mount.writable:
                yield os.path.join(root.path, mount.path)


def _landlocked(wanted: Wanted, home: Path) -> Order:
    trees = [tree for guarded in wanted.guarded for tree in guarded.work_trees]
    return landlocked.order(
        abi=landlock.abi(),
        program=machine.program(alone=False),
        command=wanted.command,
        cwd=wanted.cwd,
        roots=wanted.paths,
        also_read=[tree.common for tree in trees],
        also_write=[tree.own for tree in trees],
        home=home,
        bounds=wanted.bounds,
    )


def _bubblewrap(wanted: Wanted, folders: Sequence[int], kept: ExitStack) -> Planned:
    binds = [Bind(path=root.path, writable=True) for root in wanted.roots]
    files = list(folders)
    for root, folder, guarded in zip(wanted.roots, folders, wanted.guarded, strict=True):
        for mount in guarded.mounts:
            with _unless_gone(root.path / mount.path):
                files.append(_kept(walking.place(folder, mount.path), kept))
                binds.append(Bind(path=root.path / mount.path, writable=mount.writable))
    for tree in (tree for guarded in wanted.guarded for tree in guarded.work_trees):
        inside = any(root.path in tree.common.parents for root in wanted.roots)
        wanted_binds = [] if inside else [Bind(path=tree.common, writable=False)]
        wanted_binds.append(Bind(path=tree.own, writable=True))
        wanted_binds += [Bind(path=tree.own / n, writable=False) for n in WORK_TREE_READ_ONLY]
        for bind in wanted_binds:
            with _unless_gone(bind.path):  # most work trees have no settings of their own
                files.append(_kept(os.open(bind.path, walking.PLACE), kept))
                binds.append(bind)
    order = bubblewrap.order(
        machine.seen(),
        command=wanted.command,
        cwd=wanted.cwd,
        binds=binds,
        watched=wanted.paths,
        bounds=wanted.bounds,
    )
    return Planned(order=order, files=tuple(files))


@contextmanager
def _unless_gone(path: Path) -> Iterator[None]:
    """What is not there needs no protection; for what cannot be opened nothing may run."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise SandboxError(f"{path} cannot be protected: {error.strerror}") from None


def _kept(fd: int, kept: ExitStack) -> int:
    kept.callback(os.close, fd)
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        raise OSError(errno.ELOOP, "a link has no place of its own")
    return fd
