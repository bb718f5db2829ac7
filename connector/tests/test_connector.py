"""The whole connector against a scripted gateway, over both transports."""

from collections.abc import Callable

import pytest

from opscenter_connector import frames, happenings
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
    call = gateway.submit("say", text="bread for Zoë", effects=False)
    assert (await gateway.ended(call)).outcome == "done"
    assert call.text == "bread for Zoë"
    await connector.heard(happenings.CallDelivered)
    ending = await connector.stop()
    assert ending.exit_code is ExitCode.STOPPED
    assert isinstance(gateway.heard[-1], frames.Bye)
    assert gateway.headers[0]["authorization"] == "Bearer sk-uc-test"
