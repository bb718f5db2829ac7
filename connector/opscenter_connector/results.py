"""Makes a tool's result fit through the tunnel: what is cut says that it was cut."""

import json
from typing import Any

MAX_TEXT_BYTES = 256 * 1024  # of one text; more than any model reads at once
MAX_MESSAGE = 2000  # characters of an error's message
SMALL_CHARS = 16_384  # of JSON; written in less time than it takes to ask a thread
VALUE_CHARS = 4  # of a value that is no text, with what is around it
MAX_DEPTH = 100  # the gateway refuses what is deeper, and with it the session that brings it
TOO_DEEP = f"[… nested deeper than {MAX_DEPTH} levels: left out …]"
ROOM = 1024  # for what is around the content


def is_small(body: Any) -> bool:
    """Whether it is plainly small. Looks at a few values and no further."""
    left = SMALL_CHARS
    level = [body]
    while level and left > 0:
        value = level.pop()
        left -= VALUE_CHARS + (len(value) if isinstance(value, str) else 0)
        if isinstance(value, dict):
            level += [part for item in list(value.items())[:SMALL_CHARS] for part in item]
        elif isinstance(value, list):
            level += value[:SMALL_CHARS]
    return left > 0


def fitted(result: dict[str, Any], max_bytes: int) -> tuple[dict[str, Any], str]:
    """The result in at most `max_bytes` of JSON, and what was done to it ("" for nothing)."""
    result = sayable(result)
    if _size(result) <= max_bytes and not _has_long_text(result):
        return result, ""
    notes = []
    result, cut = _with_short_texts(result, MAX_TEXT_BYTES)
    if cut:
        notes.append("long text was shortened")
    if _size(result) > max_bytes:
        result, dropped = _without_media(result)
        if dropped:
            notes.append("pictures and files were left out")
    if _size(result) > max_bytes and _content(result) and "structuredContent" in result:
        # MCP has servers say the same as text, and that is what a model reads.
        result = {key: value for key, value in result.items() if key != "structuredContent"}
        notes.append("structured content was left out")
    if _size(result) > max_bytes and (texts := _texts(result)):
        result, _ = _with_short_texts(result, max(0, max_bytes - _rest(result) - ROOM) // texts)
        notes = ["long text was shortened", *(note for note in notes if "left out" in note)]
    if _size(result) > max_bytes:
        return _too_large(_size(result), max_bytes), "too large"
    return result, "; ".join(notes)


def fitted_error(error: dict[str, Any]) -> dict[str, Any]:
    """A JSON-RPC error with a message of a length that a person reads, and no bulky data."""
    error = sayable(error)
    message = str(error.get("message", ""))
    if len(message) > MAX_MESSAGE:
        error["message"] = message[:MAX_MESSAGE] + " …"
    if "data" in error and len(json.dumps(error["data"])) > MAX_TEXT_BYTES:
        del error["data"]
    return error


def sayable(body: dict[str, Any]) -> dict[str, Any]:
    """Without what JSON or UTF-8 cannot say: NaN, and halves of characters; and not too deep."""
    if _is_deep(body):
        body = _shallow(body, MAX_DEPTH)
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        body = json.loads(text, parse_constant=lambda _: None)
    return body


def _is_deep(body: dict[str, Any]) -> bool:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [one for values in inner for one in values if isinstance(one, dict | list)]
    return bool(level)


def _shallow(value: Any, levels: int) -> Any:
    """With a note in place of what lies below. The SDK reads nothing that recursion cannot."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, dict):
        return {name: _shallow(one, levels - 1) for name, one in value.items()}
    return [_shallow(one, levels - 1) for one in value]


def _size(result: dict[str, Any]) -> int:
    return len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode())


def _content(result: dict[str, Any]) -> list[Any]:
    content = result.get("content")
    return content if isinstance(content, list) else []


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("text"), str)


def _texts(result: dict[str, Any]) -> int:
    return sum(_is_text(block) for block in _content(result))


def _has_long_text(result: dict[str, Any]) -> bool:
    texts = (block["text"] for block in _content(result) if _is_text(block))
    return any(len(text) * 4 > MAX_TEXT_BYTES and _encoded(text) > MAX_TEXT_BYTES for text in texts)


def _rest(result: dict[str, Any]) -> int:
    """The bytes of what is no text."""
    blocks = [block | {"text": ""} if _is_text(block) else block for block in _content(result)]
    return _size(result | {"content": blocks})


def _encoded(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


def _with_short_texts(result: dict[str, Any], most: int) -> tuple[dict[str, Any], bool]:
    blocks = [
        block | {"text": _short(block["text"], most)}
        if _is_text(block) and _encoded(block["text"]) > most
        else block
        for block in _content(result)
    ]
    cut = blocks != _content(result)
    return (result | {"content": blocks}, cut) if cut else (result, False)


def _short(text: str, most: int) -> str:
    """Head and tail, and how much is missing between them."""
    keep = len(text)
    while True:
        head, tail = text[: keep - keep // 2], text[len(text) - keep // 2 :]
        note = f"\n[… {len(text) - keep:,} characters left out …]\n"
        short = head + note + tail
        if keep == 0 or _encoded(short) <= most:
            return short if keep else note.strip()
        # Characters differ in length; come closer step by step, and get there.
        keep = min(keep - 1, int(keep * most / (_encoded(short) + 1)), keep * 99 // 100)


def _without_media(result: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    blocks = [_media_note(block) or block for block in _content(result)]
    return result | {"content": blocks}, blocks != _content(result)


def _media_note(block: Any) -> dict[str, Any] | None:
    if not isinstance(block, dict):
        return None
    resource = block.get("resource")
    inner: dict[str, Any] = resource if isinstance(resource, dict) else block
    data = inner.get("data") or inner.get("blob")
    if not isinstance(data, str):
        return None
    kind = inner.get("mimeType") or block.get("type")
    return {"type": "text", "text": f"[{kind} of {len(data) * 3 // 4:,} bytes left out: too large]"}


def _too_large(size: int, most: int) -> dict[str, Any]:
    text = f"The tool ran, but its result of {size:,} bytes is too large to pass on ({most:,})."
    return {"content": [{"type": "text", "text": text}], "isError": True}
