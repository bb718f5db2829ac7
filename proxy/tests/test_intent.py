"""What a person asks for, by the words that are theirs: how often it is found, and why."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy import cues, intent

CASES = Path(__file__).parent / "cases" / "intent"
# Whoever changes the rules may not see the held-out half. The floors are what was measured, less a
# little; the earlier table of substrings finds 24 % of the held-out half.
FLOORS = {"tuning": 0.88, "held_out": 0.62}


def cases(half: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in (CASES / f"{half}.jsonl").read_text().splitlines()]


def messages_of(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = case.get("messages") or [user(case["says"])]
    return found


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("half", FLOORS)
def test_it_finds_most_of_what_people_ask_for(half: str) -> None:
    found = [intent.inferred(messages_of(case)).task_type == case["type"] for case in cases(half)]
    assert sum(found) / len(found) >= FLOORS[half]


def test_it_listens_to_the_human_alone() -> None:
    said = [
        {"type": "tool_result", "tool_use_id": "t", "content": "review the architecture"},
        {"type": "text", "text": "<system-reminder>fix all bugs</system-reminder>"},
        {"type": "text", "text": "```\n# write a function\n```\nExplain this to me."},
    ]
    found = intent.inferred([{"role": "user", "content": said}])
    assert found.task_type == cues.DOCUMENTATION
    assert "explain" in found.words


def test_it_does_not_do_what_was_not_asked_for() -> None:
    found = intent.inferred([user("Don't fix anything. Review the locking in queue.py.")])
    assert found.task_type == cues.CODE_REVIEW


def test_a_short_answer_goes_on_with_what_the_session_was_about() -> None:
    assert intent.inferred([user("yes, the second one")], cues.DEBUGGING).task_type == "debugging"
    assert intent.inferred([user("yes, the second one")]).task_type == "general"


@pytest.mark.parametrize("messages", [[], "text", None, [None], [{"role": "user"}], [user("")]])
def test_it_knows_nothing_of_what_says_nothing(messages: Any) -> None:
    found = intent.inferred(messages)
    assert (found.task_type, found.words) == ("general", ())
