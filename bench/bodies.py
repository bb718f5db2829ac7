"""The request bodies of the bench: a small one, and one the size of a Claude Code request."""

import json
from typing import Any

# A name that the peer has a price for: with an unknown one it raises and logs in each call, which
# costs it half as much again and would flatter us.
MODEL = "claude-sonnet-4-5"
# The upstream reads count and pace of its text deltas from the message, which everybody passes on.
STREAM_DELTAS = 20
STREAM = f"bench-{STREAM_DELTAS}x5ms"
BRISK = f"bench-{STREAM_DELTAS}x0ms"  # without pauses, to warm a server up
HELD_DELTAS = 20
HELD = f"bench-{HELD_DELTAS}x500ms"  # two a second, for ten seconds

SENTENCE = "Read the file before you change it, keep its style, and say in one line what you did. "
TOOLS = (
    "Bash",
    "Edit",
    "Glob",
    "Grep",
    "NotebookEdit",
    "Read",
    "Task",
    "TodoWrite",
    "WebFetch",
    "WebSearch",
    "Write",
    "AskUser",
)


def _text(characters: int) -> str:
    return (SENTENCE * (characters // len(SENTENCE) + 1))[:characters]


def _tool(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = {
        field: {"type": kind, "description": _text(120)}
        for field, kind in (
            ("path", "string"),
            ("limit", "number"),
            ("pattern", "string"),
            ("replace_all", "boolean"),
        )
    }
    properties["items"] = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "state": {"type": "string", "enum": ["open", "done"]},
            },
            "required": ["id"],
        },
    }
    return {
        "name": name,
        "description": _text(1200),
        "input_schema": {
            "type": "object",
            "properties": properties,
            "required": ["path"],
            "additionalProperties": False,
            "$schema": "http://json-schema.org/draft-07/schema#",
        },
    }


def _turn(number: int) -> list[dict[str, Any]]:
    call = f"toolu_bench{number:04d}"
    return [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": _text(160)},
                {"type": "tool_use", "id": call, "name": "Read", "input": {"path": "src/app.py"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call, "content": _text(1800)}],
        },
    ]


def small(pace: str = "") -> bytes:
    """A few hundred bytes: one question, answered as a stream if a pace is given."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 256,
        "messages": [{"role": "user", "content": f"{pace} {_text(150)}"}],
        "stream": bool(pace),
    }
    return json.dumps(body).encode()


def large() -> bytes:
    """About 50 KB: system blocks, twelve tools with schemas, six turns with a tool's result."""
    marked = {"cache_control": {"type": "ephemeral"}}
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": _text(600)}]},
            *(message for number in range(6) for message in _turn(number)),
        ],
        "system": [
            {"type": "text", "text": _text(80), **marked},
            {"type": "text", "text": _text(11_500), **marked},
        ],
        "tools": [_tool(name) for name in TOOLS],
        "metadata": {"user_id": "user_bench_account_session"},
        "max_tokens": 32_000,
        "stream": False,
    }
    return json.dumps(body).encode()
