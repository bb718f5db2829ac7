"""Which transport carries the session, and how it ends."""

import asyncio
from collections.abc import Callable

import pytest

from opscenter_connector import frames, happenings, websocket
from opscenter_connector.endings import ExitCode
from tests.conftest import Connector
from tests.gateway import Gateway

Start = Callable[..., Connector]


@pytest.mark.parametrize("status", [200, 301, 400, 403, 404, 405, 407, 426, 501])
async def test_it_polls_where_a_proxy_refuses_the_socket(
    gateway: Gateway, start: Start, status: int
) -> None:
    gateway.faults.upgrade = status
    connector = start("auto")
    await gateway.serving()
    fell = await connector.heard(happenings.FellBack)
    assert str(status) in fell.reason
    assert (await gateway.ended(gateway.submit("say", word="a"))).outcome == "done"


async def test_it_polls_where_the_gateway_has_no_sockets(gateway: Gateway, start: Start) -> None:
    gateway.faults.upgrade, gateway.faults.by_proxy = 404, False
    start("auto")
    await gateway.serving()
    assert gateway.sessions == ["polling"]


async def test_it_polls_where_sockets_are_cut_again_and_again(
    gateway: Gateway, start: Start
) -> None:
    gateway.faults.cut_always = True
    start("auto")
    await gateway.until(lambda: "polling" in gateway.sessions)
    assert gateway.sessions[:4] == ["websocket"] * 3 + ["polling"]


async def test_it_polls_where_nothing_comes_through(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "OPEN_TIMEOUT_S", 0.3)
    gateway.faults.swallow_welcome = True
    connector = start("auto")
    await gateway.until(lambda: "polling" in gateway.sessions)
    assert "welcome" in (await connector.heard(happenings.FellBack)).reason


async def test_it_polls_where_a_socket_stalls(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING_S", 0.2)
    gateway.faults.freeze = True
    connector = start("auto")
    await gateway.until(lambda: "polling" in gateway.sessions)
    assert "stalled" in (await connector.heard(happenings.FellBack)).reason
    assert gateway.sessions[0] == "websocket"


async def test_it_climbs_back_and_no_call_notices(gateway: Gateway, start: Start) -> None:
    gateway.faults.upgrade = 403
    connector = start("auto")
    await gateway.serving()
    call = gateway.submit("wait", seconds=1.5, word="a")
    await connector.noted("began a")
    gateway.faults.upgrade = 0
    await connector.heard(happenings.ClimbedBack)
    assert call.result is None
    assert (await gateway.ended(call)).outcome == "done"
    assert gateway.sessions == ["polling", "websocket"]
    assert connector.ran("began a") == 1
    assert (await connector.stop()).exit_code is ExitCode.STOPPED


async def test_only_a_socket_is_used_if_that_is_wanted(gateway: Gateway, start: Start) -> None:
    gateway.faults.upgrade = 403
    connector = start("websocket")
    await connector.heard(happenings.Connecting, lambda one: one.attempt == 5)
    assert not gateway.sessions
    gateway.faults.upgrade = 0
    await gateway.serving()
    assert gateway.sessions == ["websocket"]


async def test_a_restarting_gateway_is_not_taken_for_a_proxy(
    gateway: Gateway, start: Start
) -> None:
    gateway.faults.upgrade, gateway.faults.by_proxy = 503, False
    connector = start("auto")
    await connector.heard(happenings.Connecting, lambda one: one.attempt == 6)
    gateway.faults.upgrade = 0
    await gateway.serving()
    assert gateway.sessions == ["websocket"]


async def test_a_gateway_that_is_away_is_waited_for(gateway: Gateway, start: Start) -> None:
    connector = start("auto", api_url="http://127.0.0.1:9")
    await connector.heard(happenings.Connecting, lambda one: one.attempt == 6)
    transports = {one.transport for one in connector.told if isinstance(one, happenings.Connecting)}
    assert transports == {"websocket"}
    assert (await connector.stop()).exit_code is ExitCode.STOPPED


CODES = [
    (401, ExitCode.CREDENTIAL),
    (403, ExitCode.CREDENTIAL),
    (406, ExitCode.VERSION),
    (413, ExitCode.VERSION),
    (400, ExitCode.VERSION),
    (409, ExitCode.FENCED),
]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(("status", "exit_code"), CODES)
async def test_a_refusal_of_the_gateway_ends_it(
    gateway: Gateway, start: Start, transport: str, status: int, exit_code: ExitCode
) -> None:
    gateway.faults.upgrade = gateway.faults.poll = status
    gateway.faults.by_proxy = False
    ending = await start(transport).ended()
    assert ending.exit_code is exit_code
    if exit_code is not ExitCode.FENCED:
        assert ending.reason == f"refused with {status}"


@pytest.mark.parametrize(("status", "exit_code"), CODES[:-1])  # who is fenced tries once more
async def test_a_close_code_of_the_gateway_ends_it(
    gateway: Gateway, start: Start, status: int, exit_code: ExitCode
) -> None:
    gateway.faults.close = 4000 + status
    assert (await start().ended()).exit_code is exit_code


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4408, 4429, 4503])
async def test_after_other_close_codes_it_comes_back(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("opscenter_connector.choosing.LATER_S", 0.1)
    gateway.faults.close = code
    start()
    await gateway.serving()


async def test_a_refusal_of_a_proxy_does_not_end_it(gateway: Gateway, start: Start) -> None:
    gateway.faults.poll = 401
    connector = start("polling")
    await connector.heard(happenings.Connecting, lambda one: one.attempt == 3)
    gateway.faults.poll = 0
    await gateway.serving()


async def test_a_copy_of_its_identity_ends_it(gateway: Gateway, start: Start) -> None:
    connector = start()
    await gateway.serving()
    hello = next(frame for frame in gateway.heard if isinstance(frame, frames.Hello))
    gateway.take(frames.to_wire(hello))  # from another machine
    await connector.heard(happenings.Connected, lambda one: one.epoch > 2)
    gateway.take(frames.to_wire(hello))  # which comes back, too
    ending = await connector.ended()
    assert ending.exit_code is ExitCode.FENCED
    assert "state copied" in ending.reason


async def test_a_hello_of_its_last_life_that_came_late_does_not_end_it(
    gateway: Gateway, start: Start
) -> None:
    """It was killed while connecting, and is there again before the gateway has read that."""
    connector = start()
    await gateway.serving()
    hello = next(frame for frame in gateway.heard if isinstance(frame, frames.Hello))
    gateway.take(frames.to_wire(hello))
    await connector.heard(happenings.Connected, lambda one: one.epoch > 2)
    assert (await gateway.ended(gateway.submit("say", word="a"))).outcome == "done"


async def test_a_hello_of_its_own_that_came_late_does_not_end_it(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "OPEN_TIMEOUT_S", 0.3)
    gateway.faults.swallow_welcome = True
    connector = start()
    await connector.heard(happenings.Connecting, lambda one: one.attempt == 2)
    gateway.faults.swallow_welcome = False
    await gateway.serving()
    hello = next(frame for frame in gateway.heard if isinstance(frame, frames.Hello))
    gateway.take(frames.to_wire(hello))  # the one that was stuck
    sessions = len(gateway.sessions)
    await gateway.until(lambda: len(gateway.sessions) > sessions)
    await asyncio.sleep(0)
    assert (await gateway.ended(gateway.submit("say", word="a"))).outcome == "done"


async def test_a_frame_of_a_newer_gateway_is_passed_over(
    gateway: Gateway, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.faults.greeting = '{"type":"sing","song":"of bread"}'
    start()
    await gateway.serving()
    assert (await gateway.ended(gateway.submit("say", word="a"))).outcome == "done"
    assert "'sing' are not known" in caplog.text
