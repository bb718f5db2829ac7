"""A connector that is killed, stopped or started again: what had begun is known."""

from collections.abc import Callable

import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.endings import ExitCode
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]


async def test_what_ran_when_it_was_killed_is_reported_and_not_repeated(
    gateway: Gateway, start: Start
) -> None:
    first = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a")
    await first.noted("began a")
    await first.kill()
    second = start()
    assert (await gateway.ended(call)).outcome == "interrupted"
    await second.heard(happenings.Recovered, lambda one: one.id == call.id)
    assert second.ran("began a") == 1


async def test_what_had_ended_when_it_was_killed_is_reported(
    gateway: Gateway, start: Start
) -> None:
    gateway.faults.mute = {"result"}
    first = start()
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.until(lambda: gateway.count(frames.Result))
    await first.kill()
    gateway.faults.mute = set()
    second = start()
    assert (await gateway.ended(call)).outcome == "done"
    assert call.text == "a"
    assert second.ran("count a") == 1


async def test_a_call_that_was_begun_once_is_never_run_again(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.ended(call)
    await connector.heard(happenings.CallDelivered)
    await connector.kill()
    call.result = None
    gateway.requeue(call)  # which no gateway may do
    again = start()
    assert (await gateway.ended(call)).outcome == "interrupted"
    assert again.ran("count a") == 1


async def test_a_call_without_effects_may_run_again(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a", effects=False)
    await connector.noted("began a")
    await connector.kill()
    call.arguments["seconds"] = 0.1
    gateway.requeue(call)
    again = start()
    assert (await gateway.ended(call)).outcome == "done"
    assert again.ran("began a") == 2


async def test_it_waits_for_what_runs_when_it_is_stopped(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=1, word="a")
    await connector.noted("began a")
    assert (await connector.stop()).exit_code is ExitCode.STOPPED
    assert call.result is not None
    assert call.result.outcome == "done"


async def test_what_does_not_end_in_time_is_reported_when_it_is_stopped(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opscenter_connector.program.STOP_WITHIN_S", 0.2)
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a")
    await connector.noted("began a")
    await connector.stop()
    assert call.result is not None
    assert call.result.outcome == "interrupted"
