"""Hears the bells of all users whose servers the gateway reaches itself."""

from uuid import UUID

from mcp import bell, direct_rows
from mcp.bell import Ear, Listening
from mcp.threads import off_loop


class Ears:
    """One ear for all of them: a worker that wakes looks for everybody's calls."""

    def __init__(self) -> None:
        self._ear = Ear()
        self._listening: dict[UUID, Listening] = {}

    async def refresh(self) -> None:
        """Listen for those who are there now. Raises DatabaseAwayError."""
        there = await off_loop(direct_rows.heard_of)()
        for gone in self._listening.keys() - there:
            self._listening.pop(gone).end()
        for new in there - self._listening.keys():
            listening = self._listening[new] = bell.current().of_connector(new)
            listening.ear = self._ear
            listening.start()

    async def wait(self, timeout_s: float) -> None:
        """Return as soon as one rings, or after that time."""
        await self._ear.wait(timeout_s)

    def close(self) -> None:
        """Listen no more."""
        for listening in self._listening.values():
            listening.end()
        self._listening.clear()
