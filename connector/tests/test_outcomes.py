"""Why a call failed, as the screen and the log are told."""

from typing import Any

import pytest

from opscenter_connector import frames, outcomes
from opscenter_connector.journal import End
from opscenter_connector.local.answers import refusal
from opscenter_connector.sandbox import Ended


def note(body: dict[str, Any], server: str = "local") -> str:
    call = frames.Call(
        id="a",
        fence=1,
        server=server,
        method="tools/call",
        params={"name": "bash"},
        has_effects=True,
        remaining_ms=1,
    )
    return outcomes.told(call, End(outcome="done", body=body), 0.5, "").note


def ran(ended: str, returncode: int) -> dict[str, Any]:
    fields = {"ended": ended, "returncode": returncode, "stderr": "a secret"}
    return {"content": [], "structuredContent": fields, "isError": returncode != 0}


def test_it_says_why_a_built_in_tool_failed() -> None:
    assert note(ran("exit", 2)) == "exit code 2"
    assert note(ran("exit", 0)) == ""
    for ended in set(Ended) - {Ended.EXIT}:
        assert "code" not in note(ran(ended.value, 137))
    assert note(ran("timeout", 137)) == "its time was up"
    assert note(refusal("there is no x. List its folder with list_directory")) == "there is no x"


@pytest.mark.parametrize("body", [ran("exit", 2), refusal("the password is no secret")])
def test_it_tells_nothing_of_what_others_answer(body: dict[str, Any]) -> None:
    assert note(body, "files") == ""


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"opscenter/decision": "deny", "a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ([1], [1]),
        (None, None),
    ],
)
def test_no_local_server_speaks_for_this_program(data: Any, kept: Any) -> None:
    assert outcomes.theirs(data) == kept
