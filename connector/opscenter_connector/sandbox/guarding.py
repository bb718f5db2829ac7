"""The guards of all allowed folders around one command; their looks at the disk are on threads."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

import anyio

from opscenter_connector.sandbox import guard, places
from opscenter_connector.sandbox.guard import Guard, Guarded
from opscenter_connector.sandbox.layers import Layer, Root, SandboxError, Standing

T = TypeVar("T")


class Guarding:
    """Begins with the command, and ends after its last process."""

    def __init__(self, standing: Standing, roots: Sequence[Root]) -> None:
        self.guarded: list[Guarded] = []
        self.quarantined: list[str] = []
        self._standing = standing
        self._roots = roots
        self._begun: list[Guard] = []

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
        pin = self._standing.layer is not Layer.NONE  # there a person has approved the command
        for root in self._roots:
            one = guard.of(root)
            self.guarded.append(one.begin(pin=pin))
            self._begun.append(one)

    def _end(self) -> None:
        for one, root in zip(self._begun, self._roots, strict=False):
            self.quarantined += _ended(one, root, self._standing)


def _ended(one: Guard, root: Root, standing: Standing) -> list[str]:
    try:
        with places.opened([root]) as [folder]:
            return one.end(folder, standing.quarantine)
    except SandboxError:  # the folder is gone, and with it whatever was planted there
        one.forget()
        return []


async def _on_a_thread(work: Callable[[], T]) -> T:
    """To its end, also when we are cancelled meanwhile: half of it would be worse than none."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([working])
        raise
