"""The connector when it stops, and when the machine or the gateway will not have it."""

from collections.abc import Callable

import pytest

from opscenter_connector import frames, happenings
from opscenter_connector.endings import ExitCode
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]


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


async def test_a_full_disk_stops_calls_and_nothing_else(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = start()
    await gateway.serving()

    def full(handle: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("opscenter_connector.journal._write_all", full)
        ended = await gateway.ended(gateway.submit("count", word="a"))
    assert ended.outcome == "error"
    assert ended.error is not None
    assert "No space left on device" in ended.error["message"]
    await connector.heard(happenings.Trouble)
    assert connector.ran("count a") == 0
    assert (await gateway.ended(gateway.submit("count", word="b"))).outcome == "done"


async def test_a_second_connector_of_one_directory_is_refused(
    gateway: Gateway, start: Start
) -> None:
    start()
    await gateway.serving()
    ending = await start().ended()
    assert ending.exit_code is ExitCode.CONFIGURATION
    assert "another connector uses" in ending.reason


async def test_it_says_what_the_gateway_does_not_take(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = frames.Refused(what="server", name="echo", field="tools[0]", reason="no")
    monkeypatch.setattr(gateway, "_server", lambda frame: [refused])
    connector = start()
    told = await connector.heard(happenings.Refused)
    assert (told.name, told.field, told.reason) == ("echo", "tools[0]", "no")
