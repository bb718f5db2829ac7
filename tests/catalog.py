"""The models that a scripted upstream offers, newest first, in pages as Anthropic cuts them."""

from collections.abc import Mapping, Sequence
from typing import Any

PAGE = 20  # models on a page unless the request says otherwise

MODEL_IDS = (
    "claude-fable-5-2",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-opus-4-6",
)


def model_of(model_id: str) -> dict[str, Any]:
    return {
        "id": model_id,
        "type": "model",
        "display_name": model_id.replace("-", " ").title(),
        "created_at": "2026-11-01T00:00:00Z",
        "lifecycle": "active",
        "line": model_id.split("-")[1],
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
    }


def page_of(model_ids: Sequence[str], query: Mapping[str, str]) -> dict[str, Any]:
    """The models after `after_id`, at most `limit` of them."""
    after = query.get("after_id")
    start = model_ids.index(after) + 1 if after in model_ids else 0
    end = start + int(query.get("limit", PAGE))
    ids = model_ids[start:end]
    return {
        "data": [model_of(model_id) for model_id in ids],
        "has_more": end < len(model_ids),
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
