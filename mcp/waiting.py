"""Wait for a call's end: by the bell, and by the row whatever the bell does."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from accounts.reads import DatabaseAwayError
from mcp import bell, clock, prepared
from mcp.ending import End
from mcp.models import ToolCall
from mcp.states import FINAL
from mcp.threads import off_loop

LOOK_S = 5.0  # the process's look of every second rings; this is for when even that is away

Told = Callable[[dict[str, Any]], Awaitable[None]]


async def for_end(
    call_id: UUID, within_s: float, told: Told | None = None, *, is_new: bool = False
) -> End | None:
    """The call once it is final; None after that time. `told` gets each progress that is heard.

    Of a call that `is_new` nobody looks first whether it has ended: if it should have, while nobody
    listened, that is found within a second.
    """
    ends_at = time.monotonic() + within_s
    last: dict[str, Any] | None = None
    with bell.current().of_call(call_id) as ear:
        row = None if is_new else await _look(call_id)
        while not _is_final(row) and (left_s := ends_at - time.monotonic()) > 0:
            notes = await ear.wait(min(left_s, LOOK_S))
            for note in notes:
                if note.kind == bell.PROGRESS and note.body != last:
                    last = note.body
                    if told is not None:
                        await told(last)
            ends = [note.body for note in notes if note.kind == bell.ENDED]
            if ends and (told_of := ends[-1].get("end")):
                row = End(call_id, *told_of)
            elif ends or not notes:
                row = await _look(call_id)
    return row if _is_final(row) else None


async def left_s(call_id: UUID) -> float:
    """How long an open call has until its deadline, which an approval moves; else none."""
    try:
        return await _left(call_id)
    except DatabaseAwayError:
        return -math.inf


@off_loop
def _left(call_id: UUID) -> float:
    rows = ToolCall.objects.filter(id=call_id, finished_at__isnull=True)
    for now, deadline in rows.annotate(now=clock.now()).values_list("now", "deadline"):
        return float((deadline - now).total_seconds())
    return -math.inf


def _is_final(row: End | None) -> bool:
    return row is not None and row.state in FINAL


async def _look(call_id: UUID) -> End | None:
    try:
        return await _read(call_id)
    except DatabaseAwayError:
        return None  # it may be back before the time is over


@off_loop
def _read(call_id: UUID) -> End | None:
    return next((End(*row) for row in _end_of(call_id=call_id)), None)


@prepared.select
def _end_of(*, call_id: UUID) -> QuerySet[Any, Any]:
    return ToolCall.objects.filter(id=call_id).values_list("id", "state", "outcome", "result")
