"""Wait for a call's end: by the bell, and by the row whatever the bell does."""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from accounts.reads import DatabaseAwayError
from mcp import bell
from mcp.models import ToolCall
from mcp.states import FINAL
from mcp.threads import off_loop

LOOK_S = 5.0  # the process's look of every second rings; this is for when even that is away

Told = Callable[[dict[str, Any]], Awaitable[None]]


async def for_end(call_id: UUID, within_s: float, told: Told | None = None) -> ToolCall | None:
    """The call once it is final; None after that time. `told` gets each progress that is heard."""
    ends_at = time.monotonic() + within_s
    last: dict[str, Any] | None = None
    with bell.current().of_call(call_id) as ear:
        row = await _look(call_id)  # it may have ended before anybody listened
        while not _is_final(row) and (left_s := ends_at - time.monotonic()) > 0:
            notes = await ear.wait(min(left_s, LOOK_S))
            for note in notes:
                if note.kind == bell.PROGRESS and note.body != last:
                    last = note.body
                    if told is not None:
                        await told(last)
            if not notes or any(note.kind == bell.ENDED for note in notes):
                row = await _look(call_id)
    return row if _is_final(row) else None


def _is_final(row: ToolCall | None) -> bool:
    return row is not None and row.state in FINAL


async def _look(call_id: UUID) -> ToolCall | None:
    try:
        return await _read(call_id)
    except DatabaseAwayError:
        return None  # it may be back before the time is over


@off_loop
def _read(call_id: UUID) -> ToolCall | None:
    return ToolCall.objects.filter(id=call_id).first()
