"""A client that leaves while its poll takes calls: they go back at once."""

import asyncio
from typing import Any

import pytest

from accounts.principal import CALLBACK, Principal
from accounts.tests.people import Person, alice, uses_written
from mcp import bell, frames, handout
from mcp.models import Connector, ToolCall
from mcp.session import Session
from mcp.tests.machines import call, machine
from mcp.threads import off_loop

__all__ = ["alice", "uses_written"]


@pytest.mark.django_db(transaction=True)  # the queue is on threads of its own
async def test_it_gives_back_what_was_claimed_for_a_client_that_left(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = await off_loop(machine)(alice)
    row = await off_loop(call)(connector)
    claim, claimed, goes_on = handout._look, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> handout.Due:
        found = await claim(*args)
        claimed.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(handout, "_look", slow)
    principal = Principal(
        organization_id=alice.organization.pk,
        user_id=alice.user.pk,
        key_id="",
        scopes=frozenset({CALLBACK}),
    )
    hello = frames.Hello(v=1, instance=connector.instance, name="laptop")
    polled, _ = await Session.open(principal, hello, Connector.Transport.POLLING)
    poll = asyncio.create_task(polled.next_due(25))
    await asyncio.wait_for(claimed.wait(), 5)
    assert await off_loop(state_of)(row.pk) == ("leased", 1)
    poll.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(poll, 5)
    assert await off_loop(state_of)(row.pk) == ("queued", 1)
    polled.forget()
    await bell.shutdown()


def state_of(pk: Any) -> tuple[str, int]:
    return ToolCall.objects.values_list("state", "fence").get(pk=pk)
