"""The token classes of one answer and their arithmetic."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

MOST = 2**31 - 1  # what an integer column holds; a larger count is an upstream's mistake
# Twenty times the largest window there is: who reports more has counted wrong, and it is money.
MOST_PLAUSIBLE = 20_000_000
MOST_TOOL_USES = 1_000  # in one answer; the API itself stops long before
_CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
# Ours, in the `usage` of an answer whose upstream counts nothing: the counts are estimates.
ESTIMATED = "opscenter_estimated"
# What is looked at in a `usage` object.
KNOWN = frozenset({*_CLASSES, "cache_creation", "server_tool_use", ESTIMATED})


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
        # The larger of the two where they disagree.
        five_minutes = max(_count(split.get("ephemeral_5m_input_tokens")), written - one_hour, 0)
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

    @property
    def counted(self) -> int:
        """The tokens that limits count: what is read from a cache is not new work."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was used."""
        return not (self.counted or self.cache_read_tokens or self.server_tool_uses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What an answer is taken to have used in the end."""

    counts: TokenCounts
    estimated: bool = False  # some of it was counted by us
    flags: tuple[str, ...] = ()  # why


def faults(usage: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a `usage` object that cannot be: negative, absurdly large or no number."""
    found = [name for name in _CLASSES if _is_wrong(usage.get(name))]
    split = _object(usage.get("cache_creation"))
    found += [f"cache_creation.{name}" for name, value in split.items() if _is_wrong(value)]
    tools = _object(usage.get("server_tool_use"))
    found += [
        f"server_tool_use.{name}"
        for name, value in tools.items()
        if _is_wrong(value, MOST_TOOL_USES)
    ]
    return tuple(found)


def settled(
    usage: Mapping[str, Any],
    *,
    expected_input: int,
    seen_output: int,
    is_whole: bool,
    has_final: bool = True,
    was_left: bool = False,
) -> Settled:
    """What to charge for, from what the upstream reported and what we saw ourselves.

    `expected_input` and `seen_output` are our own estimates; `is_whole` says that the answer came
    to its end, `has_final` that its last count of output came too, and `was_left` that the client
    went while the upstream had the request.
    """
    if not usage and not is_whole and not seen_output:  # nothing has come back
        if not was_left:
            return Settled(counts=TokenCounts())
        # It was read by then, or may have been: who leaves early does not read for nothing.
        ours = TokenCounts(input_tokens=expected_input)
        return Settled(counts=ours, estimated=True, flags=("left",))
    bad = faults(usage)
    counts = TokenCounts.of(_without(usage, bad) if bad else usage)
    has_input = usage.get("input_tokens") is not None
    has_final = has_final and usage.get("output_tokens") is not None
    if not has_input or "input_tokens" in bad:
        counts = replace(counts, input_tokens=expected_input)
    if not (is_whole and has_final) or "output_tokens" in bad:
        counts = replace(counts, output_tokens=max(counts.output_tokens, seen_output))
    found = {
        "clamped": bool(bad),
        "partial": not is_whole,
        "uncounted": is_whole and not (has_input and has_final and not usage.get(ESTIMATED)),
    }
    flags = tuple(flag for flag, is_so in found.items() if is_so)
    return Settled(counts=counts, estimated=bool(flags), flags=flags)


def _without(usage: Mapping[str, Any], bad: Collection[str]) -> dict[str, Any]:
    """The usage without the fields that cannot be."""
    return {
        name: {k: v for k, v in value.items() if f"{name}.{k}" not in bad}
        if isinstance(value, Mapping)
        else value
        for name, value in usage.items()
        if name not in bad
    }


def _is_wrong(value: object, most: int = MOST_PLAUSIBLE) -> bool:
    if value is None:
        return False
    if isinstance(value, bool) or not isinstance(value, int):
        return True
    return not 0 <= value <= most


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return min(max(value, 0), MOST)
