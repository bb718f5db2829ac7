"""What a machine is handed: calls that are leased to it, and word of those that should stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError, IntegrityError
from django.db.models import Q, QuerySet
from msgspec import UNSET, Raw, UnsetType

from mcp import calls, frames, lastwords, prepared
from mcp.models import ToolCall
from mcp.states import State
from mcp.threads import off_loop

log = logging.getLogger(__name__)

# Handed out before the last ones are sent: with arguments of a MiB each, the 4 MiB that a machine
# which reads slowly may hold of our memory. The rest stays in the queue.
MOST_AT_ONCE = 4
MOST_LOOKED_AT = 100  # open calls of one connector in one look; it may have MAX_OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be sent now."""

    claimed: list[calls.Claimed]
    to_stop: list[calls.Held]
    left: bool  # more wait, until one of those that the machine holds ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """Calls that are now the holder's; `is_all`: those that were just put in are among them."""

    claimed: list[calls.Claimed]
    is_all: bool


Given = TypeVar("Given", Due, Leased)


class Tray:
    """Where a call lies ready for a session that waits for work in the process that put it in.

    Whoever put the call in has leased it to the machine on the way: no other look is needed.
    """

    def __init__(self, holder: calls.Holder, wake: Callable[[], None]) -> None:
        self.holder = holder
        self._waiting = 0  # a poll may come before the last one has left
        self.is_all = False  # nothing waits that was not handed out, as far as we know
        self._wake = wake
        self._ready: list[calls.Claimed] = []

    @property
    def is_waited_at(self) -> bool:
        return self._waiting > 0

    def lay(self, leased: Leased) -> bool:
        """On the event loop. False: they do not lie here, and must be given back."""
        self.is_all &= leased.is_all
        has_room = len(self._ready) + len(leased.claimed) <= MOST_AT_ONCE
        if not (leased.claimed and self.is_waited_at and has_room):
            return False
        self._ready += leased.claimed
        self._wake()
        return True

    @contextmanager
    def waited_at(self) -> Iterator[None]:
        """While this lasts, whoever waits hears of what is laid here."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def take(self) -> list[calls.Claimed]:
        ready, self._ready = self._ready, []
        return ready


def lease(holder: calls.Holder, new: Collection[UUID]) -> Leased:
    """What may be handed out now that these calls are in the queue. It raises nothing."""
    try:
        claimed = calls.claim_begun(holder, MOST_AT_ONCE)
    except (calls.SupersededError, DatabaseError) as error:
        # What a rule of the tables forbids is a defect, or the tables are another release's.
        level = logging.ERROR if isinstance(error, IntegrityError) else logging.DEBUG
        log.log(level, "new calls are left to the next look: %r", error)
        claimed = []
    return Leased(claimed=claimed, is_all=set(new) <= {one.id for one in claimed})


async def due(holder: calls.Holder) -> Due:
    """Calls that are now leased to the holder, and those of its that should stop."""
    return await _unless_gone(holder, _look(holder))


async def due_of(holder: calls.Holder, new: Collection[UUID]) -> Leased:
    """What is due where nothing but these calls has come since a look."""
    return await _unless_gone(holder, _lease(holder, new))


async def _unless_gone(holder: calls.Holder, leasing: Awaitable[Given]) -> Given:
    """If this is cancelled, for the machine has left, they go back: they need wait for no lease."""
    going_on = asyncio.ensure_future(leasing)
    try:
        return await asyncio.shield(going_on)
    except asyncio.CancelledError:
        await lastwords.said(_hand_back_what(holder, going_on))
        raise


async def _hand_back_what(holder: calls.Holder, leasing: asyncio.Future[Given]) -> None:
    await hand_back(holder, (await leasing).claimed)


async def hand_back(holder: calls.Holder, claimed: Iterable[calls.Claimed]) -> None:
    """They were not sent, so they need not wait for the end of their lease."""
    for one in claimed:
        await _release(holder, one.id, one.fence)


@off_loop
def _look(holder: calls.Holder) -> Due:
    rows = _to_do(connector_id=holder.connector_id, organization_id=holder.organization_id)
    to_stop = [(call, fence) for call, fence, state in rows if state != State.QUEUED]
    waiting = len(rows) - len(to_stop)
    # Most looks find nothing, and a claim locks.
    claimed = calls.claim_begun(holder, MOST_AT_ONCE) if waiting else []
    return Due(claimed=claimed, to_stop=to_stop, left=len(claimed) < waiting)


@prepared.select
def _to_do(*, connector_id: UUID, organization_id: UUID) -> QuerySet[Any, Any]:
    """The calls that may be handed out, and those that should stop."""
    mine = ToolCall.objects.filter(
        connector_id=connector_id, organization_id=organization_id, finished_at__isnull=True
    )
    found = mine.filter(Q(state=State.QUEUED) | Q(cancel_requested=True))
    return found.values_list("id", "fence", "state")[:MOST_LOOKED_AT]


def frames_of(due: Due, told: Collection[calls.Held]) -> list[frames.Frame]:
    """What is due, without the cancellations that were `told`."""
    fresh = [held for held in due.to_stop if held not in told]
    return [*(frames.Cancel(id=call, fence=fence) for call, fence in fresh), *calls_of(due.claimed)]


def calls_of(claimed: Iterable[calls.Claimed]) -> list[frames.Frame]:
    """How the machine is told of them."""
    return [_frame_of(one) for one in claimed]


def _frame_of(claimed: calls.Claimed) -> frames.Call:
    return frames.Call(
        id=claimed.id,
        fence=claimed.fence,
        server=claimed.server,
        method=claimed.method,
        params=Raw(claimed.params.encode()),
        has_effects=claimed.has_effects,
        remaining_ms=claimed.remaining_ms,
        begun=claimed.begun,
        approval=_approval_of(claimed),
    )


def _approval_of(claimed: calls.Claimed) -> frames.Approved | UnsetType:
    if not claimed.approval:
        return UNSET
    source: Any = claimed.source
    return frames.Approved(digest=claimed.approval, source=source)


_lease = off_loop(lease)
_release = off_loop(calls.release)
