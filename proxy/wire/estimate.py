"""How many tokens a Messages body is, without asking the model that will read it."""

from collections.abc import Mapping
from typing import Any

from proxy.wire.body import BodyError, JSONObject

# Tokens per word begun, per letter, per mark and so on, fitted to prose, code, JSON and several
# scripts with the one tokenizer that was published for a Claude model, times 1.2: the later ones
# cut finer. The fit hits its own material within a fifth, scripts of two bytes a letter excepted.
_WEIGHTS = {
    b"a": 0.13,
    b"0": 0.60,
    b"!": 0.60,
    b"\n": 0.35,
    b"2": 0.80,  # first bytes: a letter of two bytes (Cyrillic), of three (CJK), of four (emoji)
    b"3": 1.25,
    b"4": 2.90,
}
BYTES_PER_TOKEN = 4  # of a whole body, its JSON included; of other scripts each byte may be one
_NOT_ASCII = bytes(range(0x80, 0x100))
_SOURCES = (b'"base64"', b'"url"', b'"file"', b'"file_id"')
UNSEEN_PDF_TOKENS = 100_000  # of a file that is only named: forty pages
_WORD = 0.95
_WORD_STARTS = (b" a", b"\na", b"!a", b"0a")

TOKENS_PER_IMAGE = 1_600  # what the API charges for one of the largest size that it keeps
TOKENS_PER_MESSAGE = 4  # the role and the marks around it
BYTES_PER_PDF_TOKEN = 25  # a page of print is about 60 kB and 2,500 tokens
MIN_PDF_TOKENS = 1_500  # one page
MAX_PDF_TOKENS = 300_000  # a hundred pages; a larger file is pictures, not more to read

# Fields that a model does not read as text, wherever they stand.
_UNREAD = frozenset({"cache_control", "encrypted_content", "encrypted_index"})
_UNREAD_OF = {
    "thinking": frozenset({"type", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "image": frozenset({"type", "source"}),
    "base64": frozenset({"type", "media_type", "data"}),
    "text": frozenset({"type"}),
    "tool_use": frozenset({"type", "id"}),
    "tool_result": frozenset({"type", "tool_use_id", "is_error"}),
}


def input_tokens(body: Mapping[str, Any]) -> int:
    """Estimate the input tokens of a Messages body: system, messages and tools.

    Text is weighed by its words, letters, marks and scripts, which holds within about a fifth for
    English and code. An image counts the same whatever its size, a PDF by its bytes.
    """
    texts: list[str] = []
    tokens = 0.0
    waiting: list[Any] = [body.get("system"), body.get("messages"), body.get("tools")]
    while waiting:  # not recursive: the body may be nested as deeply as it likes
        value = waiting.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, Mapping):
            tokens += _taken_apart(value, texts, waiting)
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif value is not None:
            tokens += 1
    return int(tokens + _text_tokens("\n".join(texts))) + 1


def expected_input(body: JSONObject) -> int:
    """The same, without reading the body where a glance will do: by its size, unless it holds
    pictures or files, whose size in it says nothing."""
    raw = body.raw
    if any(mark in raw for mark in _SOURCES):
        try:
            return input_tokens(body.decoded())
        except BodyError:  # a number that no computer holds; the upstream will say so
            return len(raw)
    plain = len(raw) if raw.isascii() else len(raw.translate(None, _NOT_ASCII))
    return plain // BYTES_PER_TOKEN + (len(raw) - plain)


def _taken_apart(value: Mapping[str, Any], texts: list[str], waiting: list[Any]) -> float:
    """Hand the parts of an object on; the tokens of what is not text."""
    kind = value.get("type")
    of_kind = _UNREAD_OF.get(kind) if isinstance(kind, str) else None
    unread = _UNREAD | of_kind if of_kind else _UNREAD
    tokens = 0.0
    for name, part in value.items():
        if name not in unread:
            waiting.append(part)
            if of_kind is None:
                texts.append(str(name))
                tokens += 1  # its quotes, colon and comma
    if kind == "image":
        return tokens + TOKENS_PER_IMAGE
    if kind == "document" and _is_elsewhere(value.get("source")):
        return tokens + UNSEEN_PDF_TOKENS
    if kind == "base64":
        return tokens + _pdf_tokens(value.get("data"))
    return tokens + (TOKENS_PER_MESSAGE if "role" in value else 0)


def _is_elsewhere(source: Any) -> bool:
    # No set: what stands there may be anything, and need not have a hash.
    return isinstance(source, Mapping) and source.get("type") in ("url", "file")


def _pdf_tokens(data: Any) -> float:
    size = len(data) * 3 // 4 if isinstance(data, str) else 0
    return min(max(size / BYTES_PER_PDF_TOKEN, MIN_PDF_TOKENS), MAX_PDF_TOKENS)


def _class_of(byte: int) -> bytes:
    char = bytes([byte])
    if char.isalpha():
        return b"a"
    if char.isdigit():
        return b"0"
    if byte == ord("\n"):
        return char
    if byte < 0x80:
        return b"!" if byte > ord(" ") else b" "
    if byte < 0xC0:
        return b"."  # the rest of a letter whose first byte has been counted
    return b"2" if byte < 0xE0 else b"3" if byte < 0xF0 else b"4"


_CLASSES = b"".join(_class_of(byte) for byte in range(256))


def _text_tokens(text: str) -> float:
    classes = (" " + text).encode(errors="replace").translate(_CLASSES)
    words = sum(classes.count(start) for start in _WORD_STARTS)
    return _WORD * words + sum(classes.count(one) * weight for one, weight in _WEIGHTS.items())
