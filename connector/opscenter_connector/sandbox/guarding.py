"""The guards of all allowed folders around one command; their looks at the disk are on threads."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

import anyio

from opscenter_connector.sandbox import guard, places
from opscenter_connector.sandbox.guard import Guard, Guarded
from opscenter_connector.sandbox.layers import Layer, Root, Standing, Swept
from opscenter_connector.sandbox.quarantine import Sweep

T = TypeVar("T")


class Guarding:
    """Begins with the command, and ends after its last process."""

    def __init__(self, standing: Standing, roots: Sequence[Root]) -> None:
        self.guarded: list[Guarded] = []
        self.swept: list[Swept] = []
        self._standing = standing
        self._roots = roots
        self._begun: list[Guard] = []
        self._folders: list[int] = []
        self._kept = ExitStack()

    async def __aenter__(self) -> "Guarding":
        try:
            await _on_a_thread(self._begin)
        except BaseException:  # also if we are cancelled: what has begun is to end
            await _on_a_thread(self._end)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _on_a_thread(self._end)

    def _begin(self) -> None:
        # Held until the end: a command may close the folder itself, and only by this it is opened.
        self._folders = self._kept.enter_context(places.opened(self._roots))
        pin = self._standing.layer is not Layer.NONE  # there a person has approved the command
        for root in self._roots:
            one = guard.of(root)
            self.guarded.append(one.begin(pin=pin, notes=self._standing.notes))
            self._begun.append(one)

    def _end(self) -> None:
        with self._kept:
            begun = zip(self._begun, self._folders, self._roots, strict=False)
            for one, folder, root in begun:
                sweep = Sweep(folder, self._standing.quarantine)
                one.end(sweep)
                self.swept += swept(root, sweep)


def swept(root: Root, sweep: Sweep) -> list[Swept]:
    """By full paths."""
    # What was put back as it was has no other place than its own.
    gone = [(path, sweep.places.get(path, path)) for path in sweep.found]
    return [
        Swept(path=os.path.join(root.path, path), place=os.path.join(root.path, place))
        for path, place in gone
    ] + [Swept(path=os.path.join(root.path, path), place="") for path in sweep.left]


async def _on_a_thread(work: Callable[[], T]) -> T:
    """To its end, also when we are cancelled meanwhile: half of it would be worse than none."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([working])
        raise
