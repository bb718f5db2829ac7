"""What a machine is handed: calls that are leased to it, and word of those that should stop."""

import asyncio

from django.db.models import Q
from msgspec import Raw

from mcp import calls, frames, lastwords
from mcp.models import ToolCall
from mcp.states import State
from mcp.threads import off_loop

# Handed out before the last ones are sent: with arguments of a MiB each, the 4 MiB that a machine
# which reads slowly may hold of our memory. The rest stays in the queue.
MOST_AT_ONCE = 4
MOST_LOOKED_AT = 100  # open calls of one connector in one look; it may have MAX_OPEN


Due = tuple[list[calls.Claimed], list[calls.Held]]


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
    claimed, _ = await looking
    for one in claimed:
        await _release(holder, one.id, one.fence)


@off_loop
def _look(holder: calls.Holder) -> Due:
    mine = ToolCall.objects.filter(
        connector_id=holder.connector_id,
        organization_id=holder.organization_id,
        finished_at__isnull=True,
    )
    look = mine.filter(Q(state=State.QUEUED) | Q(cancel_requested=True))
    rows = list(look.values_list("id", "fence", "state")[:MOST_LOOKED_AT])
    to_stop = [(call, fence) for call, fence, state in rows if state != State.QUEUED]
    # Most looks find nothing, and a claim locks.
    return calls.claim(holder, MOST_AT_ONCE) if len(to_stop) < len(rows) else [], to_stop


def frame_of(claimed: calls.Claimed) -> frames.Call:
    return frames.Call(
        id=claimed.id,
        fence=claimed.fence,
        server=claimed.server,
        method=claimed.method,
        params=Raw(claimed.params.encode()),
        has_effects=claimed.has_effects,
        remaining_ms=claimed.remaining_ms,
    )


_release = off_loop(calls.release)
