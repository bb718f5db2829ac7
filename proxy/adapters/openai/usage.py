"""A server's count of tokens, in the classes of the Messages API."""

from collections.abc import Mapping
from typing import Any

from billing.tokens import MOST
from proxy.wire.faults import CHARS_PER_TOKEN

# Where servers put the tokens that they took from a cache, and those that they wrote into one.
_READ = ("cache_read_input_tokens", "prompt_cache_hit_tokens")
_WRITTEN = ("cache_creation_input_tokens",)
_READ_DETAILS = ("cached_tokens",)
_WRITTEN_DETAILS = ("cache_creation_tokens", "cache_write_tokens")


def reported(usage: object) -> dict[str, Any] | None:
    """The Messages API's `usage` in place of a chat completion's; None where it says nothing.

    A count that is missing or no number is left out, so that an estimate can stand in for it.
    """
    if not isinstance(usage, Mapping):
        return None
    prompt = _first(usage, ("prompt_tokens", "input_tokens"))
    said = _first(usage, ("completion_tokens", "output_tokens"))
    if prompt is None and said is None:
        return None
    counts: dict[str, Any] = {}
    if prompt is not None:
        counts |= _input(usage, prompt)
    if said is not None:
        counts |= _output(usage, said, prompt or 0)
    return counts


def estimated(input_tokens: int, output_chars: int) -> dict[str, int]:
    """What stands in for the counts of a server that gives none."""
    return {"input_tokens": input_tokens, "output_tokens": -(-output_chars // CHARS_PER_TOKEN)}


def _input(usage: Mapping[str, Any], prompt: int) -> dict[str, int]:
    details = _object(usage.get("prompt_tokens_details"))
    read = _first(usage, _READ) or _first(details, _READ_DETAILS) or 0
    written = _first(usage, _WRITTEN) or _first(details, _WRITTEN_DETAILS) or 0
    return {
        # OpenAI counts a cached token as one of the prompt's, the Messages API does not.
        "input_tokens": max(0, prompt - read - written),
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }


def _output(usage: Mapping[str, Any], said: int, prompt: int) -> dict[str, Any]:
    details = _object(usage.get("completion_tokens_details"))
    thought = _first(details, ("reasoning_tokens",))
    if thought is None:
        return {"output_tokens": said}
    if thought and _count(usage.get("total_tokens")) == prompt + said + thought:
        said = min(said + thought, MOST)  # some leave the thinking out of what was said
    return {
        "output_tokens": said,
        "output_tokens_details": {"thinking_tokens": min(thought, said)},
    }


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these counts that is there. Zero is a count only if no other is larger."""
    found = [count for name in names if (count := _count(usage.get(name))) is not None]
    return next((count for count in found if count), found[0] if found else None)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST or value != int(value):
        return None  # also what is not a number
    return int(value)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
