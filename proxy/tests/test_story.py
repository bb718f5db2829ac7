"""An answer that breaks off says so to the client, and says why to whoever is woken."""

import asyncio
import json
import logging
from typing import Any

import pytest

from proxy.answer import UpstreamError
from proxy.plans import Part, Plan
from proxy.story import Story
from proxy.tests.test_turns_property import BOUNDS, CALLER, REQUEST, Said, Stream, act, box
from proxy.turns import Asking
from proxy.wire import sse
from proxy.wire.body import MessagesRequest
from proxy.wire.turn import Manner
from tests.legality import check_stream
from tests.turns import tool_turn

MANNER = Manner(streams_uses=False, says_lines=True, pauses=False)


async def events(second: Exception) -> list[dict[str, Any]]:
    """An answer whose second turn cannot be asked for."""
    asked = 0

    async def ask(request: MessagesRequest, part: Part) -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise second
        return Stream(Said(tool_turn(("files_read", {})), broken_json=False, ends=""), [])

    part = Part(request=REQUEST, toolbox=box(), bounds=BOUNDS)
    plan = Plan(parts=[part], model="m", manner=MANNER, headers=[])
    story = Story(plan, Asking(caller=CALLER, request_id="req_5", manner=MANNER, ask=ask, act=act))
    assert await story.begin() is None
    return [json.loads(one.data) async for block in story for one in sse.events(block)]


def test_a_fault_of_our_own_leaves_a_traceback_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        told = asyncio.run(events(RuntimeError("a secret")))
    check_stream(told)
    assert told[-1]["error"]["message"] == "The gateway could not finish this request."
    (record,) = caplog.records
    assert record.exc_info is not None


def test_what_is_known_leaves_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told = asyncio.run(events(TimeoutError()))
        known = asyncio.run(events(UpstreamError("The upstream is away.")))
    assert told[-1]["error"]["type"] == "api_error"
    assert known[-1]["error"]["message"] == "The upstream is away."
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]
