"""What went wrong, as a result of MCP's."""

import json


def failure(text: str) -> str:
    """A result that says it, for a model to read."""
    return json.dumps(
        {"content": [{"type": "text", "text": text}], "isError": True}, separators=(",", ":")
    )
