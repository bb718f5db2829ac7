"""The models that Claude Code asks for by itself, as a list of models describes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """What is public about a model. `created_at` is RFC 3339; the limits are tokens."""

    display_name: str
    line: str | None
    created_at: str
    max_input_tokens: int | None = None
    max_tokens: int | None = None


# The default names of Claude Code 2.1 and its aliases, newest first, and our own demo.
KNOWN: Mapping[str, KnownModel] = {
    "claude-opus-5-5": KnownModel(
        display_name="Claude Opus 5.5", line="opus", created_at="2026-09-29T00:00:00Z"
    ),
    "claude-sonnet-5-5": KnownModel(
        display_name="Claude Sonnet 5.5", line="sonnet", created_at="2026-09-28T00:00:00Z"
    ),
    "claude-haiku-5-5": KnownModel(
        display_name="Claude Haiku 5.5", line="haiku", created_at="2026-09-27T00:00:00Z"
    ),
    "claude-fable-5-2": KnownModel(
        display_name="Claude Fable 5.2", line="fable", created_at="2026-09-26T00:00:00Z"
    ),
    "claude-sonnet-5": KnownModel(
        display_name="Claude Sonnet 5", line="sonnet", created_at="2026-06-01T00:00:00Z"
    ),
}

_UNKNOWN_CREATED_AT = "1970-01-01T00:00:00Z"  # the API's own word for "not known"


def described(model_id: str, display_name: str) -> dict[str, Any]:
    """One entry of `GET /v1/models`, in the shape the SDKs' strict types ask for."""
    known = KNOWN.get(model_id)
    return {
        "id": model_id,
        "type": "model",
        "display_name": display_name or (known.display_name if known else model_id),
        "created_at": known.created_at if known else _UNKNOWN_CREATED_AT,
        "lifecycle": "active",
        "line": known.line if known else None,
        "max_input_tokens": known.max_input_tokens if known else None,
        "max_tokens": known.max_tokens if known else None,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a list of models was asked for."""

    limit: int
    after_id: str
    before_id: str


def page(models: list[dict[str, Any]], asked: Page) -> dict[str, Any]:
    """One page, as the SDKs walk it: on by `after_id`, back by `before_id`."""
    ids = [model["id"] for model in models]
    if asked.before_id in ids:
        end = ids.index(asked.before_id)
        start = max(0, end - asked.limit)
        more = start > 0
    else:
        start = ids.index(asked.after_id) + 1 if asked.after_id in ids else 0
        end = start + asked.limit
        more = end < len(models)
    data = models[start:end]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
