"""Ends tasks for sure.

`Task.cancel` is heard once. A task group in which something fails at that very moment raises the
failure instead, and a loop that reports failures and goes on has then never heard of it.
"""

import asyncio
from typing import Any

AGAIN_S = 10.0  # longer than the SDK takes to end a local server, which a second one would disturb


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel them, again if need be, until they have ended. How they ended is not told."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
