"""The token classes of one answer and their arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

MOST = 2**31 - 1  # what an integer column holds; a larger count is an upstream's mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Tokens in the disjoint classes that the API reports. A token is in exactly one of them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    server_tool_uses: int = 0

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> Self:
        """The counts of an API `usage` object. What is missing, negative or no number counts zero.

        Upstreams that do not split cache writes by life time mean the default of five minutes.
        """
        written = _count(usage.get("cache_creation_input_tokens"))
        split = _object(usage.get("cache_creation"))
        one_hour = _count(split.get("ephemeral_1h_input_tokens"))
        five_minutes = _count(split.get("ephemeral_5m_input_tokens")) or max(0, written - one_hour)
        return cls(
            input_tokens=_count(usage.get("input_tokens")),
            output_tokens=_count(usage.get("output_tokens")),
            cache_read_tokens=_count(usage.get("cache_read_input_tokens")),
            cache_write_5m_tokens=five_minutes,
            cache_write_1h_tokens=one_hour,
            server_tool_uses=min(
                sum(map(_count, _object(usage.get("server_tool_use")).values())), MOST
            ),
        )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return min(max(value, 0), MOST)
