"""What a machine is handed: calls that are leased to it, and word of those that should stop."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from msgspec import UNSET, Raw, UnsetType

from mcp import calls, frames, lastwords, prepared
from mcp.models import ToolCall
from mcp.states import State
from mcp.threads import off_loop

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


async def due(holder: calls.Holder) -> Due:
    """Calls that are now leased to the holder, and those of its that should stop.

    If this is cancelled, for the machine has left, they go back: they need not wait for a lease.
    """
    looking = asyncio.ensure_future(_look(holder))
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        await lastwords.said(_hand_back(holder, looking))
        raise


async def _hand_back(holder: calls.Holder, looking: asyncio.Future[Due]) -> None:
    for one in (await looking).claimed:
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
    return [
        *(frames.Cancel(id=call, fence=fence) for call, fence in fresh),
        *(_frame_of(claimed) for claimed in due.claimed),
    ]


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


_release = off_loop(calls.release)
