"""Claude Code, the real one, when an answer is cut after a block that is already whole.

The client keeps such a block: it has shown the text, it has run the tool. So nothing may be asked
twice, and both requests, the cut one and the one that goes on, stand in the ledger.
"""

from typing import Any

import pytest

from billing.models import UsageRecord
from tests import gateway as gateways
from tests.answers import Answer, End, stream
from tests.real.conftest import Claude, Gateway
from tests.tool_loop import call, results_in
from tests.turns import Turn, text_turn, tool_turn, usage
from tests.upstream import Request, Upstream

pytestmark = pytest.mark.real

COST = usage(input_tokens=40, output_tokens=30)


def cut(turn: Turn, *, before: int) -> Answer:
    """The turn's stream without its last events: then the connection closes."""
    return stream([*turn.events()[:-before], End.CUT])


def assistant_texts(request: Request) -> list[str]:
    return [
        block["text"]
        for message in request.json["messages"]
        if message["role"] == "assistant"
        for block in message["content"]
        if block["type"] == "text"
    ]


def closed_rows(count: int) -> list[tuple[Any, ...]]:
    """What became of each request, once all are closed. There is one row for each, no more."""
    gateways.eventually(lambda: not UsageRecord.objects.filter(state="admitted").exists())
    rows = list(UsageRecord.objects.order_by("admitted_at"))
    assert len(rows) == count
    assert len({row.message_id for row in rows}) == count
    return [(row.state, row.error_type, row.input_tokens, row.stop_reason) for row in rows]


@pytest.mark.parametrize("before", [2, 1], ids=["no-stop-reason", "no-message-stop"])
def test_it_keeps_a_whole_text_and_goes_on_from_there(
    claude: Claude, gateway: Gateway, upstream: Upstream, before: int
) -> None:
    first = text_turn("The first half.", cost=COST)
    upstream.script(cut(first, before=before), text_turn("The second half."))
    done = claude("hello", url=gateway.url, key=gateway.key)
    assert done.code == 0, done.stdout
    if before == 2:
        assert done.stdout == "The second half.\n"
        assert assistant_texts(upstream.requests[1]) == ["The first half."]
        assert closed_rows(2) == [
            ("failed", "api_error", 40, ""),
            ("completed", "", 25, "end_turn"),
        ]
    else:  # a stop reason is an end: nothing is missing but the goodbye
        assert done.stdout == "The first half.\n"
        assert closed_rows(1) == [("completed", "", 40, "end_turn")]
    assert all(request.streaming for request in upstream.requests)


@pytest.mark.parametrize("before", [2, 1], ids=["no-stop-reason", "no-message-stop"])
def test_it_runs_a_whole_tool_call_once(
    claude: Claude, gateway: Gateway, upstream: Upstream, before: int
) -> None:
    log = claude.folder / "log.txt"
    asked = tool_turn(call("Bash", command=f"echo ran >> {log}"), text="I run it.", cost=COST)
    upstream.script(cut(asked, before=before), text_turn("It ran."))
    done = claude("run it", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "It ran.\n")
    assert log.read_text() == "ran\n"
    [result] = results_in(upstream.requests[-1])
    assert result["tool_use_id"] == asked.blocks[-1]["id"]
    assert not result.get("is_error")
    assert len(upstream.requests) == 2
    first = ("failed", "api_error", 40, "") if before == 2 else ("completed", "", 40, "tool_use")
    assert closed_rows(2) == [first, ("completed", "", 25, "end_turn")]


def test_it_asks_again_for_a_tool_call_that_was_cut_in_its_input(
    claude: Claude, gateway: Gateway, upstream: Upstream
) -> None:
    log = claude.folder / "log.txt"
    asked = tool_turn(call("Bash", command=f"echo ran >> {log}"), cost=COST)
    upstream.script(cut(asked, before=4), asked, text_turn("It ran."))
    done = claude("run it", url=gateway.url, key=gateway.key)
    assert (done.code, done.stdout) == (0, "It ran.\n")
    assert log.read_text() == "ran\n"
    assert len(upstream.requests) == 3
