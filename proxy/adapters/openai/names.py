"""Tool names and call ids in a form that every server accepts."""

import hashlib
import re
from base64 import b32encode

MAX_NAME_CHARS = 64  # OpenAI's bound, for names of tools
MAX_ID_CHARS = 40  # OpenAI's bound, for ids of calls
SHORT_ID_CHARS = 9  # Mistral takes ids of exactly this length and no other
_HASH_CHARS = 12

_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME_CHARS}}}")
_ID = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_ID_CHARS}}}")
_SHORT_ID = re.compile(rf"[a-zA-Z0-9]{{{SHORT_ID_CHARS}}}")
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def tool_name(name: str) -> str:
    """The name under which a tool is offered: its own, or a legal one that no other tool has."""
    if _NAME.fullmatch(name):
        return name
    kept = _FOREIGN.sub("_", name[: MAX_NAME_CHARS - _HASH_CHARS - 1])
    return f"{kept}_{_digest(name).hex()[:_HASH_CHARS]}"


def call_id(given: str, *, short: bool) -> str:
    """The id under which a call is told of; the same for the same id, in every request."""
    if (_SHORT_ID if short else _ID).fullmatch(given):
        return given
    if short:
        return b32encode(_digest(given)).decode().lower()[:SHORT_ID_CHARS]
    return f"call_{_digest(given).hex()[:24]}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
