"""Content blocks as text and as the parts that a message of Chat Completions may have."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from proxy.adapters.openai.fields import (
    a_list,
    a_string,
    an_object,
    as_json,
    optional_string,
    required,
    string_of,
)
from proxy.adapters.openai.names import tool_name
from proxy.wire.body import BodyError

Block = Mapping[str, Any]
Part = str | dict[str, Any]  # a text, or a part that is none

MAX_FLAT_CHARS = 8_000  # of a block that only another server understands; it returns on every turn

_NO_FILES = "the upstream of this model cannot read the Files API; send the data itself"
_SEEN = frozenset({"image", "document"})  # in words these are nothing but base64
_UNTOLD = frozenset(
    {"type", "id", "tool_use_id", "cache_control", "caller", "signature", "citations"}
    | {"encrypted_content", "encrypted_index", "encrypted_stdout"}
)


def blocks_of(value: Any, at: str) -> list[tuple[str, Block]]:
    """The blocks of a content with their places; a string is one block of text."""
    if isinstance(value, str):
        return [(at, {"type": "text", "text": value})]
    found = []
    for number, block in enumerate(a_list(value, at)):
        place = f"{at}.{number}"
        string_of(an_object(block, place), "type", place)
        found.append((place, block))
    return found


def parts_of(block: Block, at: str, conceded: Collection[str]) -> list[Part]:
    """A block that a user or a tool may send, as parts. Raises BodyError."""
    match block["type"]:
        case "text":
            return [string_of(block, "text", at)]
        case "image":
            return [_image(block, at, conceded)]
        case "document":
            return _document(block, at, conceded)
        case "search_result":
            texts = _parts(required(block, "content", at), f"{at}.content", conceded)
            title, source = string_of(block, "title", at), string_of(block, "source", at)
            return [f"[Search result: {title} ({source})]", *texts]
        case "tool_reference":
            return [f"The tool {tool_name(string_of(block, 'tool_name', at))} is now available."]
        case "container_upload":
            raise BodyError(f"{at}: {_NO_FILES}")
    return [flat(block)]


def joined(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """The content of a message: a text where all parts are text, as every server takes that."""
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return "\n\n".join(texts)
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]


def flat(block: Block) -> str:
    """A block that only the server it came from understands, told in words."""
    kind = str(block["type"])
    if kind == "compaction":
        return f"[Summary of the conversation so far]\n{_text_in(block.get('content'))}"
    if kind.endswith("tool_use"):
        return f"[Called {block.get('name')} with {_cut(as_json(block.get('input')))}]"
    if kind.endswith("tool_result"):
        return f"[Result of {kind.removesuffix('_result')}: {_cut(_text_in(block.get('content')))}]"
    return _cut(_told(block)) if kind in _SEEN else f"[{kind}: {_cut(_told(block))}]"


def _text_in(content: Any) -> str:
    if isinstance(content, str):
        return content
    listed = content if isinstance(content, list) else [content]
    return "\n".join(map(_told, listed))


def _told(part: Any) -> str:
    if not isinstance(part, Mapping):
        return as_json(part)
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") in _SEEN:
        return f"[{part['type']} left out]"
    return as_json({name: value for name, value in part.items() if name not in _UNTOLD})


def _cut(text: str) -> str:
    over = len(text) - MAX_FLAT_CHARS
    return f"{text[:MAX_FLAT_CHARS]} ({over} more characters)" if over > 0 else text


def _parts(value: Any, at: str, conceded: Collection[str]) -> list[Part]:
    """The text and the images in a content that may hold no other blocks."""
    found: list[Part] = []
    for place, block in blocks_of(value, at):
        if block["type"] not in {"text", "image"}:
            raise BodyError(f"{place}.type: Input should be 'text' or 'image'")
        found += parts_of(block, place, conceded)
    return found


def _source(block: Block, at: str) -> tuple[Mapping[str, Any], str]:
    place = f"{at}.source"
    source = an_object(required(block, "source", at), place)
    if string_of(source, "type", place) == "file":
        raise BodyError(f"{place}: {_NO_FILES}")
    return source, place


def _image(block: Block, at: str, conceded: Collection[str]) -> Part:
    source, place = _source(block, at)
    match source["type"]:
        case "base64":
            url = f"data:{string_of(source, 'media_type', place)};base64,"
            url += string_of(source, "data", place)
        case "url":
            url = string_of(source, "url", place)
        case _:
            raise BodyError(f"{place}.type: Input should be 'base64', 'url' or 'file'")
    if "images" in conceded:
        return "[An image was left out: this model cannot see images.]"
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, at: str, conceded: Collection[str]) -> list[Part]:
    source, place = _source(block, at)
    title, context = optional_string(block, "title", at), optional_string(block, "context", at)
    heading = f"[Document: {title}]" if title else "[Document]"
    head = [heading, context] if context else [heading]
    match source["type"]:
        case "text":
            return [*head, string_of(source, "data", place)]
        case "content":
            inner = _parts(required(source, "content", place), f"{place}.content", conceded)
            return [*head, *inner]
        case "url":
            url = string_of(source, "url", place)
            return [*head, f"[The document at {url} was left out: it cannot be fetched here.]"]
        case "base64":
            return [*(head if title or context else []), _pdf(source, place, title, conceded)]
    raise BodyError(f"{place}.type: Input should be 'base64', 'text', 'content', 'url' or 'file'")


def _pdf(source: Mapping[str, Any], at: str, title: str, conceded: Collection[str]) -> Part:
    kind = a_string(source.get("media_type", "application/pdf"), f"{at}.media_type")
    data = string_of(source, "data", at)
    if "files" in conceded:
        return "[A PDF was left out: this model cannot read PDFs.]"
    name = title or "document.pdf"
    return {
        "type": "file",
        "file": {
            "filename": name if name.lower().endswith(".pdf") else f"{name}.pdf",
            "file_data": f"data:{kind};base64,{data}",
        },
    }
