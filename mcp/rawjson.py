"""JSON that is kept as it is, and must be some that everybody can read."""

import re

import msgspec

MAX_DEPTH = 100  # deeper ones break readers that go down by recursion

_decode = msgspec.json.Decoder().decode
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_MARKS = bytes(set(range(256)) - set(b"[]{}"))
_AS_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class UnreadableError(Exception):
    """Not everybody could read it. The text says why, and goes after its name."""


def check(raw: bytes) -> None:
    """Raise UnreadableError unless it is an object that everybody can read."""
    if raw[:1] != b"{":
        raise UnreadableError("must be an object")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deep(raw):
        raise UnreadableError(f"nests deeper than {MAX_DEPTH}")
    try:
        _decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableError(f"cannot be read: {error}") from error


def _is_deep(raw: bytes) -> bool:
    """Whether it nests deeper than MAX_DEPTH: each round takes the innermost pairs away.

    Whole texts at a time: a loop over a million brackets would hold up everybody for a second.
    """
    left = _STRINGS.sub(b"", raw).translate(_AS_ONE_KIND, _NO_MARKS)
    for _ in range(MAX_DEPTH):
        if not left:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)
