"""What a tool's result is to a model and to a client that is shown text alone (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

# Clients send every result back with each request from then on: about 10,000 tokens, from where
# Claude Code itself warns of a result.
MAX_CHARS = 40_000
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
MAX_IMAGE_CHARS = 5 * 1024 * 1024  # in base64, as upstreams take one
MAX_IMAGES = 8  # of one result

Block = dict[str, Any]


def text_of(result: Mapping[str, Any]) -> str:
    """The result of MCP's tools/call in text, cut in its middle where it is long."""
    content = result.get("content")
    parts = [_said(part) for part in content or [] if isinstance(part, Mapping)]
    text = "\n".join([part for part in parts if part])
    if not text and result.get("structuredContent") is not None:
        text = msgspec.json.encode(result["structuredContent"]).decode()
    return capped(text)


def images_of(result: Mapping[str, Any]) -> list[Block]:
    """Its pictures, for the model alone."""
    content: Sequence[Any] = result.get("content") or []
    found = [part for part in content if isinstance(part, Mapping) and _is_image(part)]
    return [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": one["mimeType"], "data": one["data"]},
        }
        for one in found[:MAX_IMAGES]
    ]


def capped(text: str) -> str:
    """The text, or its beginning and its end and how much is left out between them."""
    if len(text) <= MAX_CHARS:
        return text
    half = MAX_CHARS // 2
    left_out = len(text) - 2 * half
    note = f"\n[{left_out} characters left out: ask for a smaller part]\n"
    return text[:half] + note + text[-half:]


def _is_image(part: Mapping[str, Any]) -> bool:
    data = part.get("data")
    is_known = part.get("type") == "image" and part.get("mimeType") in IMAGES
    return is_known and isinstance(data, str) and 0 < len(data) <= MAX_IMAGE_CHARS


def _said(part: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "text":
            return str(part.get("text", ""))
        case "image" | "audio" as kind:
            size = len(str(part.get("data", ""))) * 3 // 4
            return f"[{kind} {part.get('mimeType', '')}, {size} bytes]"
        case "resource_link":
            return f"[resource {part.get('name', '')} {part.get('uri', '')}]"
        case "resource":
            resource = part.get("resource")
            told = resource if isinstance(resource, Mapping) else {}
            text = told.get("text")
            return text if isinstance(text, str) else f"[resource {told.get('uri', '')}]"
    return ""
