"""Clients of servers, kept between two calls: an era is asked for once, a session opened once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from mcp import direct
from mcp.direct_rows import Reached
from mcp.remote import Remote

MOST_KEPT = 256  # unused ones beyond it are closed; each is a session and some buffers
IDLE_S = 300.0  # a server need not keep a session for a user who has gone


@dataclass(slots=True, eq=False)
class _Kept:
    remote: Remote
    url: str
    credential_sealed: str
    used_at: float  # by the loop's clock
    users: int = 0


class Remotes:
    """The clients of one process, by server."""

    def __init__(self) -> None:
        self._kept: dict[UUID, _Kept] = {}  # the least recently used first
        self._parting: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lent(self, server: Reached) -> AsyncIterator[Remote]:
        """A client of this server, as it is registered now.

        Raises BadTargetError, and RemoteError where its credential cannot be read.
        """
        kept = self._kept.pop(server.id, None)
        if kept is None or not _fits(kept, server):
            if kept is not None and not kept.users:
                self._part(kept)
            credential = direct.opened(server.credential_sealed)
            remote = direct.client(server.url, credential)
            kept = _Kept(remote, server.url, server.credential_sealed, 0.0)
        self._kept[server.id] = kept
        kept.users += 1
        try:
            yield kept.remote
        finally:
            kept.users -= 1
            kept.used_at = asyncio.get_running_loop().time()
            if not kept.users and self._kept.get(server.id) is not kept:
                self._part(kept)  # it was replaced meanwhile

    def sweep(self) -> None:
        """Close what nobody has used for a while."""
        before = asyncio.get_running_loop().time() - IDLE_S
        beyond = len(self._kept) - MOST_KEPT
        idle = [(key, kept) for key, kept in self._kept.items() if not kept.users]
        for number, (key, kept) in enumerate(idle):
            if number < beyond or kept.used_at < before:
                del self._kept[key]
                self._part(kept)

    async def close(self) -> None:
        """Close all of them."""
        for kept in self._kept.values():
            self._part(kept)
        self._kept.clear()
        await asyncio.gather(*self._parting, return_exceptions=True)

    def _part(self, kept: _Kept) -> None:
        task = asyncio.get_running_loop().create_task(kept.remote.close())
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)


def _fits(kept: _Kept, server: Reached) -> bool:
    return (kept.url, kept.credential_sealed) == (server.url, server.credential_sealed)
