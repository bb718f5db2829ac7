"""The usage of several requests as that of one answer (pure)."""

from collections.abc import Mapping
from typing import Any

# What an entry of `iterations` holds, as the Messages API lists it.
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)
Usage = dict[str, Any]


class Usages:
    """Summed at the top, one by one in `iterations`."""

    def __init__(self) -> None:
        self._sum: Usage = {}
        self._each: list[Usage] = []

    def add(self, usage: Mapping[str, Any]) -> None:
        """One more request."""
        self._sum = _added(self._sum, usage)
        counts = {name: usage.get(name) or 0 for name in _COUNTS}
        self._each.append({"type": "message", **counts})

    def summed(self) -> Usage:
        """The usage of the answer; without `iterations` where it had one turn alone."""
        if len(self._each) < 2:
            return self._sum
        return {**self._sum, "iterations": self._each}


def _added(some: Mapping[str, Any], more: Mapping[str, Any]) -> Usage:
    found = dict(some)
    for name, value in more.items():
        before = found.get(name)
        if isinstance(value, Mapping):
            found[name] = _added(before if isinstance(before, Mapping) else {}, value)
        elif _is_count(value) and _is_count(before):
            found[name] = before + value
        elif value is not None and name != "iterations":
            found[name] = value
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
