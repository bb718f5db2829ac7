"""What strangers say, cut so that a row of the ledger can hold it on every database (pure)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

TEXT_CHARS = 100  # of what a client or an upstream calls its session, agent, message or error
HEADER_CHARS = 300  # of one; betas make a long list
USAGE_BYTES = 16 * 1024  # a hundred times what the API reports; more is not usage
MOST_MS = 2**31 - 1  # what the column holds: 24 days
# An escaped NUL. With one more backslash before it, it is the plain text of one, which may stay.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def usage(told: Mapping[str, Any]) -> str | None:
    """The usage object as JSON that every database takes: no NUL, nothing infinite or endless."""
    try:
        text = msgspec.json.encode(told) if told else b""
    except (
        RecursionError,
        ValueError,
        TypeError,
    ):  # it came in a little less deep than it goes out
        return None
    if not 0 < len(text) <= USAGE_BYTES:
        return None
    return _NUL.sub(rb"\1", text).decode()


def headers(told: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The headers that are kept, each at a length that can be."""
    return {name: short(value, HEADER_CHARS) for name, value in told.items()} if told else None


def as_json(values: Sequence[str] | Mapping[str, str] | None) -> str | None:
    """For a column that is empty where there is nothing."""
    return msgspec.json.encode(values).decode() if values else None


def milliseconds(value: int) -> int:
    """A duration, whatever a clock has said."""
    return min(max(value, 0), MOST_MS)


def short(text: str, chars: int = TEXT_CHARS) -> str:
    """A stranger's name must not make the row fail: PostgreSQL takes no NUL, nobody half a pair."""
    return text[:chars].replace("\0", "").encode(errors="replace").decode()
