"""Reads the events of a stream as loosely as other servers write them."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.wire import sse
from proxy.wire.refusal import MAX_TEXT_CHARS, Refusal, refusal
from proxy.wire.stream import event

EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    }
)
# A web page may stand in one event. As values it takes many times the room, and the time of all.
MAX_DECODED_BYTES = 8 * 1024 * 1024
_TYPE = re.compile(r"[a-zA-Z0-9_.-]{1,100}")


def in_utf8(block: bytes) -> bytes:
    """The block, with a sign for what is no UTF-8: a server may cut a character in two."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode(errors="replace").encode()
    return block


def decoded(raw: bytes) -> Any:
    """The JSON value, None where there is none, or too much of it."""
    if len(raw) > MAX_DECODED_BYTES:
        return None
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(raw)  # slower, but takes half a UTF-16 pair and NaN, which servers send
    except (ValueError, RecursionError):
        return None


def error_of(said: sse.Event, data: object) -> Refusal | None:
    """The error that an event is, under whatever name; None for any other event."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    if said.name == "error":
        text = said.data.decode(errors="replace").strip()[:MAX_TEXT_CHARS]
        return refusal(data) or Refusal("api_error", text or "The upstream gave no reason.")
    if isinstance(kind, str) and kind != "error" and kind in EVENTS | {said.name}:
        return None
    return refusal(data)


def named(raw: bytes, said: sse.Event, data: dict[str, Any]) -> tuple[str, bytes]:
    """The type of an event, and its bytes with that type as its name and in its data.

    The type in the data counts, the name stands in for it; empty where neither says anything.
    """
    kind = data.get("type")
    if isinstance(kind, str) and _TYPE.fullmatch(kind):
        return kind, raw if said.name == kind else sse.encode(kind, said.data)
    if not _TYPE.fullmatch(said.name):
        return "", b""
    data["type"] = said.name
    return said.name, event(said.name, data)
