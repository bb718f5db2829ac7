"""Makes the named calls with Anthropic's Python SDK and prints one JSON line for each."""

import json
import sys
from collections.abc import Callable
from typing import Any

import anthropic

ASK: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Grüße, 你好"}],
}
BETAS = ["context-management-2025-06-27"]

client = anthropic.Anthropic()


def told(message: Any, request_id: str | None) -> dict[str, Any]:
    return {"message": message.to_dict(), "request_id": request_id}


def create() -> dict[str, Any]:
    message = client.messages.create(**ASK)
    return told(message, message._request_id)


def streamed(stream: Any) -> dict[str, Any]:
    kinds = [event.type for event in stream]
    return told(stream.get_final_message(), stream.request_id) | {"kinds": kinds}


def stream() -> dict[str, Any]:
    with client.messages.stream(**ASK) as opened:
        return streamed(opened)


def beta_stream() -> dict[str, Any]:
    with client.beta.messages.stream(**ASK, betas=BETAS) as opened:
        return streamed(opened)


def count_tokens() -> dict[str, Any]:
    counted = client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    return {"input_tokens": counted.input_tokens, "request_id": counted._request_id}


def models() -> dict[str, Any]:
    page = client.models.list(limit=2)
    sizes = [len(each.data) for each in page.iter_pages()]
    return {"ids": [model.id for model in client.models.list(limit=2)], "sizes": sizes}


def model() -> dict[str, Any]:
    found = client.models.retrieve(client.models.list(limit=1).data[0].id)
    return {"id": found.id, "display_name": found.display_name, "request_id": found._request_id}


def unknown_model() -> dict[str, Any]:
    return {"found": client.models.retrieve("no-such-model").id}


def unknown_path() -> dict[str, Any]:
    return {"found": client.get("/v1/no-such-path", cast_to=object)}


CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "create": create,
    "stream": stream,
    "beta_stream": beta_stream,
    "count_tokens": count_tokens,
    "models": models,
    "model": model,
    "unknown_model": unknown_model,
    "unknown_path": unknown_path,
}


def outcome(name: str) -> dict[str, Any]:
    try:
        return CALLS[name]()
    except anthropic.APIStatusError as error:
        return {
            "error": type(error).__name__,
            "status": error.status_code,
            "type": error.type,
            "message": error.message,
            "request_id": error.request_id,
        }


for name in sys.argv[1:]:
    sys.stdout.write(json.dumps(outcome(name)) + "\n")
