"""What of a call's arguments may stand in the audit: the beginning, without what is secret (pure).

No list of patterns knows all secrets. So nothing of a result is kept but its digest, and of the
arguments only so much as tells an operator what was wanted.
"""

import json
from collections.abc import Mapping
from typing import Any

from mcp import secrets
from mcp.secrets import HIDDEN
from mcp.visible import in_one_line

MAX_CHARS = 500
MAX_VALUE_CHARS = 200  # of one argument, so that a long one hides no other
MAX_DEPTH = 4
VALUES = frozenset({"value", "val", "content"})


def of_arguments(arguments: Mapping[str, Any]) -> str:
    """The beginning of the arguments, as JSON in one line."""
    shown = json.dumps(_shown(arguments, 1), ensure_ascii=False, separators=(", ", ": "))
    return _cut(in_one_line(shown).replace("\\\\", "\\"), MAX_CHARS)


def _shown(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        # Cut first only so far that no secret is cut into one that no pattern fits.
        return _cut(secrets.hidden(value[: 8 * MAX_CHARS]), MAX_VALUE_CHARS)
    if isinstance(value, Mapping | list) and depth > MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return _members(value, depth)
    if isinstance(value, list):
        if len(value) == 2 and _is_secret_name(value[0]):
            return [value[0][:MAX_VALUE_CHARS], HIDDEN]  # a header as a pair
        return [_shown(inner, depth + 1) for inner in value[:MAX_VALUE_CHARS]]
    return value


def _members(value: Mapping[str, Any], depth: int) -> dict[str, Any]:
    # {"name": "Authorization", "value": …}
    is_named = any(_is_secret_name(value.get(name)) for name in ("name", "key", "header"))
    return {
        _shown(name, depth): HIDDEN
        if secrets.is_name(name) or (is_named and name in VALUES)
        else _shown(inner, depth + 1)
        for name, inner in list(value.items())[:MAX_VALUE_CHARS]
    }


def _is_secret_name(value: Any) -> bool:
    return isinstance(value, str) and secrets.is_name(value[:MAX_VALUE_CHARS])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
