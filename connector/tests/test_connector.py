"""The whole connector against a scripted gateway, over both transports."""

from collections.abc import Callable

import pytest

from opscenter_connector import frames, happenings, runner
from opscenter_connector.endings import ExitCode
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]

both = pytest.mark.parametrize("transport", ["websocket", "polling"])


@both
async def test_it_announces_its_servers_and_runs_a_call(
    gateway: Gateway, start: Start, transport: str
) -> None:
    connector = start(transport)
    assert "say" in {tool["name"] for tool in (await gateway.serving()).tools}
    assert gateway.ready == ("echo",)
    call = gateway.submit("say", word="bread for Zoë", effects=False)
    assert (await gateway.ended(call)).outcome == "done"
    assert call.text == "bread for Zoë"
    await connector.heard(happenings.CallDelivered)
    ending = await connector.stop()
    assert ending.exit_code is ExitCode.STOPPED
    assert isinstance(gateway.heard[-1], frames.Bye)
    assert gateway.headers[0]["authorization"] == "Bearer sk-uc-test"
    assert gateway.sessions == [transport]


@both
async def test_it_runs_many_calls_at_once(gateway: Gateway, start: Start, transport: str) -> None:
    start(transport, max_in_flight=16)
    await gateway.serving()
    calls = [gateway.submit("wait", seconds=1, word=f"w{n}") for n in range(8)]
    await gateway.until(lambda: all(call.progress for call in calls))  # all before one has ended
    assert not any(call.result for call in calls)
    for call in calls:
        await gateway.ended(call)
    assert [call.text for call in calls] == [f"w{n}" for n in range(8)]


async def test_it_writes_it_down_before_it_asks(gateway: Gateway, start: Start) -> None:
    gateway.faults.mute = {"start"}
    connector = start()
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.until(lambda: gateway.count(frames.Start))
    journal = (connector.settings.state_dir / "journal.jsonl").read_text()
    assert f'"k":"s","id":"{call.id}","fence":1' in journal
    assert connector.ran("count a") == 0


async def test_it_does_not_begin_what_is_denied(gateway: Gateway, start: Start) -> None:
    gateway.faults.deny = "it was cancelled"
    connector = start()
    await gateway.serving()
    gateway.submit("count", word="a")
    denied = await connector.heard(happenings.CallDenied)
    assert (denied.tool, denied.reason) == ("count", "it was cancelled")
    gateway.faults.deny = ""
    await gateway.ended(gateway.submit("count", word="b"))
    assert connector.ran("count a") == 0


@both
async def test_a_cancelled_call_is_cancelled_at_the_local_server(
    gateway: Gateway, start: Start, transport: str
) -> None:
    connector = start(transport)
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a")
    await connector.noted("began a")
    gateway.cancel(call)
    assert (await gateway.ended(call)).outcome == "cancelled"
    await connector.noted("cancelled a")


@both
async def test_progress_is_passed_on(gateway: Gateway, start: Start, transport: str) -> None:
    start(transport)
    await gateway.serving()
    call = gateway.submit("wait", seconds=1, word="a")
    await gateway.ended(call)
    steps = [frame.progress for frame in call.progress]
    assert steps == sorted(steps)
    assert 2 <= len(steps) < 10  # not each: a person sees no more


@both
async def test_a_result_is_repeated_until_it_is_acknowledged(
    gateway: Gateway, start: Start, transport: str
) -> None:
    gateway.faults.mute = {"result"}
    connector = start(transport)
    await gateway.serving()
    call = gateway.submit("count", word="a")
    await gateway.until(lambda: gateway.count(frames.Result) >= 3)
    gateway.faults.mute = set()
    await gateway.ended(call)
    await connector.heard(happenings.CallDelivered)
    assert connector.ran("count a") == 1


async def test_a_call_outlives_its_session(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=1, word="a")
    await connector.noted("began a")
    await gateway.cut()
    await gateway.until(lambda: len(gateway.sessions) == 2)
    assert (await gateway.ended(call)).outcome == "done"
    assert connector.ran("began a") == 1


@pytest.mark.parametrize("frame", ["start", "result", "renew"])
async def test_an_answer_that_is_cut_off_is_asked_for_again(
    gateway: Gateway, start: Start, frame: str
) -> None:
    gateway.faults.cut_after = frame
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=0.5, word="a")
    assert (await gateway.ended(call)).outcome == "done"
    await connector.heard(happenings.CallDelivered)
    assert gateway.sessions == ["websocket", "websocket"]
    assert connector.ran("began a") == 1


async def test_a_lost_lease_does_not_stop_what_has_effects(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=1, word="a")
    await connector.noted("began a")
    call.state = "orphaned"
    renewed = gateway.count(frames.Renew)
    await gateway.until(lambda: gateway.count(frames.Renew) > renewed)
    call.state = "running"  # a late result is taken
    assert (await gateway.ended(call)).outcome == "done"


async def test_a_server_that_crashes_leaves_the_outcome_unknown(
    gateway: Gateway, start: Start
) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("crash", word="a")
    assert (await gateway.ended(call)).outcome == "interrupted"
    again = gateway.submit("say", word="back", effects=False)
    assert (await gateway.ended(again)).outcome == "done"
    assert connector.ran("crash a") == 1


async def test_a_call_that_takes_too_long_is_stopped(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    call = gateway.submit("wait", seconds=60, word="a", remaining_ms=300)
    ended = await gateway.ended(call)
    assert ended.outcome == "error"
    assert ended.error is not None
    assert "no answer within 0.3 s" in ended.error["message"]
    await connector.noted("cancelled a")


async def test_an_error_of_the_server_is_passed_on(gateway: Gateway, start: Start) -> None:
    start()
    await gateway.serving()
    gateway.submit("learn", word="sing")  # it is offered from now on, and cannot be done
    await gateway.until(lambda: "sing" in str(gateway.servers["echo"].tools))
    ended = await gateway.ended(gateway.submit("sing"))
    assert (ended.outcome, ended.error) == ("error", {"code": -32602, "message": "no such tool"})


@both
async def test_a_large_result_arrives_shortened(
    gateway: Gateway, start: Start, transport: str
) -> None:
    start(transport)
    await gateway.serving()
    call = gateway.submit("large", size=5_000_000, effects=False)
    assert (await gateway.ended(call)).outcome == "done"
    assert 200_000 < len(call.text) <= 256 * 1024
    assert "characters left out" in call.text


async def test_a_server_that_is_not_running_is_an_answer(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "START_WITHIN_S", 0.1)
    start()
    await gateway.serving()
    gateway.ready += ("nobody",)
    ended = await gateway.ended(gateway.submit("say", server="nobody"))
    assert ended.error is not None
    assert "this machine has no server nobody; the call was not begun" in ended.error["message"]


async def test_more_calls_than_it_takes_are_given_back(gateway: Gateway, start: Start) -> None:
    start(max_in_flight=2)
    await gateway.serving()
    calls = [gateway.submit("wait", seconds=1, word=f"w{n}") for n in range(3)]
    await gateway.until(lambda: [call.state for call in calls].count("released") == 1)


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


async def test_a_yes_that_was_cut_off_and_is_not_repeated_is_no_unknown_outcome(
    gateway: Gateway, start: Start
) -> None:
    gateway.faults.cut_after = "start"
    gateway.faults.once = True
    connector = start()
    await gateway.serving()
    ended = await gateway.ended(gateway.submit("count", word="a"))
    assert ended.error is not None
    assert "the connection was cut; the call was not begun" in ended.error["message"]
    assert connector.ran("count a") == 0
