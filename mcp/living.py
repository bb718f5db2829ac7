"""The sessions of this process, for whoever looks after all of them."""

import asyncio
from typing import Protocol
from uuid import UUID

from accounts.auth import Shown
from mcp.handout import Tray
from mcp.registry import Opened


class Living(Protocol):
    """What can be done with any session."""

    opened: Opened
    shown: Shown | None
    gone: asyncio.Event

    tray: Tray

    @property
    def is_socket(self) -> bool: ...

    @property
    def is_there(self) -> bool: ...

    def end(self, code: int, reason: str) -> None: ...

    def forget(self) -> None: ...


_sessions: dict[UUID, set[Living]] = {}
is_stopping = False


def add(session: Living) -> None:
    """It lives."""
    _sessions.setdefault(session.opened.connector_id, set()).add(session)


def discard(session: Living) -> None:
    """It does not, or not here."""
    mine = _sessions.get(session.opened.connector_id, set())
    mine.discard(session)
    if not mine:
        _sessions.pop(session.opened.connector_id, None)


def of_epoch(connector_id: UUID, epoch: int) -> Living | None:
    """The session of this epoch, if it is here."""
    mine = _sessions.get(connector_id, ())
    return next((one for one in mine if one.opened.epoch == epoch), None)


def tray_of(connector_id: UUID) -> Tray | None:
    """Where a session here waits for work of this connector. From any thread."""
    # A copy, for the event loop goes on meanwhile.
    trays = [one.tray for one in tuple(_sessions.get(connector_id, ()))]
    return next((tray for tray in trays if tray.is_waited_at), None)


def everyone() -> list[Living]:
    """All that live here now."""
    return [one for mine in _sessions.values() for one in mine]


def stop(code: int, reason: str) -> None:
    """End all, and let none begin."""
    global is_stopping
    is_stopping = True
    for session in everyone():
        session.end(code, reason)
