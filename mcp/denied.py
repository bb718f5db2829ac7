"""What is kept of a call that the policy denied: of large arguments their beginnings (pure).

It never runs, so nobody needs all of them; and an agent that repeats it fills no disk.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MAX_BYTES = 16 * 1024  # of the params of such a call
MAX_ARGUMENTS = 20
MAX_NAME, MAX_VALUE = 100, 500  # characters; the preview in the audit shows fewer
LEFT_OUT = "opscenter/left_out"  # in the params, beside what MCP has there


def stored(params: str) -> str:
    """The params as they are kept."""
    size = len(params.encode())
    if size <= MAX_BYTES:
        return params
    said = _read(params)
    arguments = said.get("arguments")
    begun = list(arguments.items())[:MAX_ARGUMENTS] if isinstance(arguments, dict) else []
    kept = {
        "name": str(said.get("name"))[:MAX_NAME],
        "arguments": {str(name)[:MAX_NAME]: _beginning(value) for name, value in begun},
        LEFT_OUT: {"bytes": size, "sha256": digest_of_text(params)},
    }
    return json.dumps(kept)


def digest(params: Mapping[str, Any], text: str) -> str:
    """Of the params as they came; `params` is what `text` says."""
    left_out = params.get(LEFT_OUT)
    known = left_out.get("sha256") if isinstance(left_out, dict) else None
    return known if isinstance(known, str) else digest_of_text(text)


def digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _beginning(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_VALUE]
    return value if value is None or isinstance(value, bool | float) else "…"


def _read(params: str) -> Mapping[str, Any]:
    try:
        said = json.loads(params)
    except (ValueError, RecursionError):  # numbers of thousands of digits, and what is too deep
        return {}
    return said if isinstance(said, dict) else {}
