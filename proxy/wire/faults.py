"""What other servers get wrong in the values of a message, streamed or whole, put right."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Reasons to stop that leak from servers which speak OpenAI's language inside.
_STOP_REASONS = {
    "stop": "end_turn",
    "eos": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ID_PREFIXES = {
    "tool_use": "toolu_",
    "server_tool_use": "srvtoolu_",
    "mcp_tool_use": "mcptoolu_",
}
# Clients crash without these two; the API sends both with every message.
_COUNTS = ("input_tokens", "output_tokens")
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")  # the API refuses other ids in history

TOOL_CALLS = frozenset(_ID_PREFIXES)
MAX_ID_CHARS = 1000  # a longer one is no id, and not worth remembering
CHARS_PER_TOKEN = 4  # of output that nobody has counted: English prose, roughly


def is_count(value: object) -> bool:
    """Whether this is a number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def usage_of(value: object, **estimates: int) -> dict[str, Any]:
    """A usage object without nulls; `estimates` stand in for counts that it lacks."""
    usage = value if isinstance(value, Mapping) else {}
    known = {name: count for name, count in usage.items() if count is not None}
    wrong = {name for name in _COUNTS if name in known and not is_count(known[name])}
    return estimates | {name: count for name, count in known.items() if name not in wrong}


def stop_reason_of(said: object, *, called: bool) -> str:
    """The reason to stop, from what the server said and whether it `called` a client's tool."""
    reason = said if isinstance(said, str) and said else "end_turn"
    reason = _STOP_REASONS.get(reason, reason)
    if reason == "end_turn" and called:
        return "tool_use"  # the SDKs run no tool on end_turn
    if reason == "tool_use" and not called:
        return "end_turn"  # Claude Code would ask once more for the call that never came
    return reason


def no_verdicts(safeguards: Sequence[str]) -> list[dict[str, Any]]:
    """What a client that waits for verdicts is told where nobody judges: it asks its user."""
    status = {"type": "unavailable", "reason": "disabled"}
    return [{"type": kind, "status": status} for kind in safeguards]


class ToolIds:
    """Sees to it that every tool call of one message has an id of its own."""

    __slots__ = ("_known", "_minted", "_new_id")

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self._known: set[str] = set()
        self._minted: dict[str, str] = {}

    def own(self, kind: str, said: object) -> str:
        """The id of a call of this kind: the one said, or a new one where that cannot be it."""
        if isinstance(said, str) and _TOOL_ID.fullmatch(said) and said not in self._known:
            self._known.add(said)
            self._minted.pop(said, None)
            return said
        minted = self._new_id(_ID_PREFIXES[kind])
        self._known.add(minted)
        if isinstance(said, str) and len(said) <= MAX_ID_CHARS:
            self._minted[said] = minted
        return minted

    def answered(self, said: object) -> object:
        """The id that a result refers to, as `own` has given it out."""
        return self._minted.get(said, said) if isinstance(said, str) else said
