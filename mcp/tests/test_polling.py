"""A client that leaves while its poll takes calls: they go back at once."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Raw

from mcp import frames
from mcp.views import polling


class Slow:
    """A session that has claimed a call before anybody hears of it."""

    def __init__(self) -> None:
        self.claimed, self.hands_over = asyncio.Event(), asyncio.Event()
        self.call = frames.Call(
            id=uuid4(),
            fence=3,
            server="files",
            method="tools/call",
            params=Raw(b"{}"),
            has_effects=True,
            remaining_ms=1000,
        )
        self.taken: list[Any] = []

    async def due(self) -> list[frames.Frame]:
        self.claimed.set()
        await self.hands_over.wait()
        return [frames.Cancel(id=uuid4(), fence=1), self.call]

    async def take(self, frame: Any) -> list[frames.Frame]:
        self.taken.append(frame)
        return []


async def test_it_gives_back_what_was_claimed_for_a_client_that_left() -> None:
    session = Slow()
    poll = asyncio.create_task(polling._taken(session))  # type: ignore[arg-type]  # as far as it is used
    await asyncio.wait_for(session.claimed.wait(), 5)
    poll.cancel()
    session.hands_over.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(poll, 5)
    (release,) = session.taken
    assert isinstance(release, frames.Release)
    assert (release.id, release.fence) == (session.call.id, 3)
