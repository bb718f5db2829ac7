"""A model that works in five turns: four tools, a parallel pair, two failures, a last word."""

from collections.abc import Mapping
from typing import Any

from tests.answers import Answer, error
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import Request

DONE = "All five turns are done."
FAILS_WITH = 3
UNKNOWN_TOOL = "NoSuchTool"


class ToolLoop:
    """Answers by how many tool results the conversation holds, so repeats are harmless."""

    def __init__(self, folder: str) -> None:
        first, second = f"{folder}/first.txt", f"{folder}/second.txt"
        self._turns: Mapping[int, Turn] = {
            0: tool_turn(call("Bash", command=f"echo hi > {first}"), text="I start."),
            1: tool_turn(
                call("Read", file_path=first),
                call("Write", file_path=second, content="written\n"),
            ),
            3: tool_turn(
                call("Edit", file_path=first, old_string="hi", new_string="hello"),
                call("Bash", command=f"exit {FAILS_WITH}"),
            ),
            5: tool_turn(call(UNKNOWN_TOOL, question="anyone there?")),
            6: text_turn(DONE),
        }

    def __call__(self, request: Request) -> Turn | Answer:
        count = len(results_in(request))
        if count in self._turns:
            return self._turns[count]
        return error(400, "invalid_request_error", f"no turn follows {count} tool results")


def call(name: str, **given: str) -> tuple[str, dict[str, Any]]:
    described = {"description": "Part of the loop"} if name == "Bash" else {}
    return name, given | described


def results_in(request: Request) -> list[dict[str, Any]]:
    """Every tool result in the conversation, oldest first."""
    return [
        block
        for message in request.json["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
