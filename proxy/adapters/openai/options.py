"""How the answer is to be made: length, sampling, reasoning, format, and who asks."""

import hashlib
from collections.abc import Mapping
from typing import Any

from proxy.adapters.openai.fields import (
    a_list,
    a_string,
    an_object,
    as_json,
    optional_object,
    optional_string,
    required,
    string_of,
)
from proxy.adapters.openai.schemas import simplified, without_identity
from proxy.adapters.openai.translation import Profile
from proxy.wire.body import BodyError

MAX_STOPS = 4  # OpenAI takes no more; the way back looks for all of them itself

# OpenAI's scale ends where Anthropic's goes on.
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
LOW_BUDGET = 4_096  # thinking tokens below which the effort is low, and
MEDIUM_BUDGET = 16_384  # below which it is medium


def options(body: Mapping[str, Any], profile: Profile, *, max_tokens: int) -> dict[str, Any]:
    """The fields of a request beside its messages and tools. Raises BodyError."""
    without = profile.conceded
    length = "max_completion_tokens" if "max_tokens" in without else "max_tokens"
    fields: dict[str, Any] = {length: max_tokens} | _sampling(body, without)
    stops = stop_sequences(body)
    if stops and "stop" not in without:
        fields["stop"] = stops[:MAX_STOPS]
    effort = _effort(body)
    if effort and "reasoning_effort" not in without:
        fields["reasoning_effort"] = effort
    user = optional_string(optional_object(body, "metadata"), "user_id", "metadata")
    if user and "user" not in without:
        fields["user"] = hashlib.sha256(user.encode()).hexdigest()
    if body.get("stream") is True:
        fields["stream"] = True
        if "stream_options" not in without:
            fields["stream_options"] = {"include_usage": True}
    return fields | _response_format(body, profile)


def stop_sequences(body: Mapping[str, Any]) -> list[str]:
    """The texts at which the answer ends. Raises BodyError."""
    value = body.get("stop_sequences")
    stops = [] if value is None else a_list(value, "stop_sequences")
    for number, stop in enumerate(stops):
        if not a_string(stop, f"stop_sequences.{number}").strip():
            raise BodyError(f"stop_sequences.{number}: must contain non-whitespace")
    return list(stops)


def format_instruction(body: Mapping[str, Any], profile: Profile) -> str:
    """What to tell a model whose server cannot hold it to a format; empty for nothing."""
    schema = _format_schema(body)
    if schema is None or "response_format" not in profile.conceded:
        return ""
    return (
        "Answer with one JSON object and nothing else: no other text, no code fence. "
        f"It must match this JSON Schema: {as_json(schema)}"
    )


def _sampling(body: Mapping[str, Any], without: frozenset[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        value = _number(body, name)
        if value is not None and "sampling" not in without:
            fields[name] = value
    top_k = _number(body, "top_k")
    if top_k is not None and "top_k" not in without:
        fields["top_k"] = top_k
    return fields


def _number(body: Mapping[str, Any], name: str) -> int | float | None:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BodyError(f"{name}: Input should be a valid number")
    return value


def _effort(body: Mapping[str, Any]) -> str:
    effort = optional_string(optional_object(body, "output_config"), "effort", "output_config")
    if effort and effort not in _EFFORTS:
        raise BodyError(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        )
    thinking = optional_object(body, "thinking")
    kind = string_of(thinking, "type", "thinking") if thinking else ""
    budget = thinking.get("budget_tokens")
    if kind == "disabled":
        return ""
    if effort or not isinstance(budget, int):
        return _EFFORTS.get(effort, "")
    return "low" if budget < LOW_BUDGET else "medium" if budget < MEDIUM_BUDGET else "high"


def _format_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    at = "output_config.format"
    wanted = optional_object(optional_object(body, "output_config"), "format", "output_config")
    if not wanted:
        return None
    if string_of(wanted, "type", at) != "json_schema":
        raise BodyError(f"{at}.type: Input should be 'json_schema'")
    return an_object(required(wanted, "schema", at), f"{at}.schema")


def _response_format(body: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    schema = _format_schema(body)
    if schema is None or "response_format" in profile.conceded:
        return {}
    plain = "schema keywords" in profile.conceded
    made = simplified(schema) if plain else without_identity(schema)
    named = {"name": "answer", "schema": made, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}
