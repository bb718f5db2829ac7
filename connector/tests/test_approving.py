"""A person between a call and its beginning: the whole connector and a scripted gateway."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.policy import Default, Policy
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]

both = pytest.mark.parametrize("transport", ["websocket", "polling"])
ASKS = Policy(default=Default.ASK)
HERE = replace(ASKS, approve_from=("terminal",))
THERE = replace(ASKS, approve_from=("gateway",))


@both
async def test_it_runs_what_a_person_approved_elsewhere_once(
    gateway: Gateway, start: Start, transport: str
) -> None:
    connector = start(transport, policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    asked = await gateway.asked(call)
    assert (asked.fence, len(asked.digest), asked.here_only) == (1, 64, False)
    assert connector.ran("count a") == 0
    assert not gateway.count(frames.Start)
    gateway.approve(call)
    assert (await gateway.ended(call)).outcome == "done"
    assert (connector.ran("count a"), len(call.asked)) == (1, 1)
    assert f'"by":"approved {asked.digest}"' in connector.journal


async def test_what_was_approved_and_ran_never_runs_again(gateway: Gateway, start: Start) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("say", word="a", effects=False)  # even if it only reads
    await gateway.asked(call)
    gateway.approve(call)
    await gateway.ended(call)
    await connector.heard(happenings.CallDelivered)
    call.result = None
    gateway.requeue(call)  # the gateway errs, or lies
    assert (await gateway.ended(call)).outcome == "interrupted"
    started = [told for told in connector.told if isinstance(told, happenings.CallStarted)]
    assert len(started) == 1


async def test_a01_an_approval_of_something_else_is_asked_again(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    other = gateway.submit("count", word="harmless")
    approved = await gateway.asked(other)
    call = gateway.submit("count", word="harmful")
    await gateway.asked(call)
    gateway.approve(call, digest=approved.digest)
    again = await gateway.asked(call, times=2)
    assert "something else" in again.reason
    call.arguments = {"word": "worse"}  # the one that was approved, with other arguments
    gateway.approve(call)
    assert (await gateway.asked(call, times=3)).digest != again.digest
    assert not gateway.count(frames.Start)
    assert connector.ran("count harmful") == connector.ran("count worse") == 0


async def test_an_approval_that_nobody_asked_for_is_none_unless_it_fits(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=ASKS)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    call.approval = frames.Approved(digest="0" * 64, source="api")
    await gateway.asked(call)
    assert connector.ran("count a") == 0


async def test_without_a_terminal_what_only_it_may_approve_is_refused(
    gateway: Gateway, start: Start
) -> None:
    connector = start(policy=HERE)
    await gateway.serving()
    ended = await gateway.ended(gateway.submit("count", word="a"))
    assert ended.error is not None
    assert "this machine's terminal, and there is none" in ended.error["message"]
    assert "not begun" in ended.error["message"]
    assert connector.ran("count a") == 0
