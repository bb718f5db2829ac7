"""Ids of messages and tool calls."""

import uuid


def new_id(prefix: str) -> str:
    """An id that no message has had before: clients lose a tool call whose id they have seen."""
    return prefix + uuid.uuid4().hex[:24]
