"""What must still be said when whoever says it is cancelled."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

log = logging.getLogger(__name__)

LAST_WORDS_S = 5.0  # a database that has not answered by then finds out by its own clock
_under_way: set[asyncio.Task[None]] = set()  # asyncio itself keeps only weak references


async def said(work: Awaitable[Any]) -> None:
    """Finish `work`, within bounds, even if we are cancelled meanwhile. It raises nothing else."""
    task = asyncio.create_task(_bounded(work))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)


async def all_said() -> None:
    """Return when nothing is under way any more."""
    await asyncio.gather(*_under_way, return_exceptions=True)


async def _bounded(work: Awaitable[Any]) -> None:
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await work
    except Exception as error:  # nobody is there to hear of it; the reaper does it in the end
        log.warning("last words were not heard: %r", error)
