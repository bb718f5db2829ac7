"""A task ends for sure, also one that does not hear of it at first."""

import asyncio

import pytest

from opscenter_connector import cancelling


async def test_it_cancels_again_what_did_not_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_S", 0.01)
    deaf = 3

    async def works() -> None:
        nonlocal deaf
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # noqa: PERF203 - the point of it
                deaf -= 1
                if not deaf:
                    raise

    task = asyncio.create_task(works())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancelling.ended(task), 5)
    assert task.cancelled()
