"""MCP over HTTP as the gateway speaks it to others, in both eras (pure).

The modern era (2026-07-28) has no sessions: each request says all about itself, in `_meta` and once
more in headers. The legacy one begins with `initialize`.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the newest is offered
CLIENT = {"name": "ops-center", "version": "1"}
ACCEPT = "application/json, text/event-stream"

MAX_MESSAGE_BYTES = 2 * 1024 * 1024  # one message: a result of the largest size and what is around

METHOD_NOT_FOUND = -32601
UNSUPPORTED_VERSION = -32022

_META = "io.modelcontextprotocol/"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|", re.ASCII)
_SENTINEL = re.compile(r"=\?base64\?.*\?=", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_MIRRORED = "x-mcp-header"
_SINGLE = frozenset(
    {"items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "not", "if"}
    | {"unevaluatedProperties", "then", "else", "contentSchema"}
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})

Json = dict[str, Any]
Path = tuple[str, ...]


class NotMcpError(Exception):
    """What came is no message of MCP. The text holds nothing of it."""


class Failure(Struct):
    """The error of a JSON-RPC answer. A code of more than 64 bits would break readers."""

    code: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    message: str = ""
    data: Any = UNSET


class Message(Struct):
    """A JSON-RPC message: an answer, or a request or notification of the server's."""

    id: int | str | None = None
    method: str | UnsetType = UNSET
    params: Json | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Failure | UnsetType = UNSET

    @property
    def is_answer(self) -> bool:
        """Whether it answers a request."""
        return self.method is UNSET and (self.result is not UNSET or self.error is not UNSET)


_messages = msgspec.json.Decoder(Message)


def message(data: bytes) -> Message:
    """The message in one JSON text. Raises NotMcpError."""
    try:
        return _messages.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotMcpError("Its answer is no JSON-RPC message.") from error


def result_of(raw: Raw) -> Json:
    """A result as an object. Raises NotMcpError."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotMcpError("Its result is not JSON.") from error
    if not isinstance(found, dict):
        raise NotMcpError("Its result is no object.")
    return found


def request(request_id: int | None, method: str, params: Json | None) -> bytes:
    """A request; without an id a notification."""
    head: Json = {"jsonrpc": "2.0"} if request_id is None else {"jsonrpc": "2.0", "id": request_id}
    body = head | {"method": method}
    # Not msgspec: the caller's numbers may be longer than 64 bits.
    return json.dumps(body if params is None else body | {"params": params}).encode()


def encoded(value: Json | Failure) -> bytes:
    """An object of ours as JSON."""
    return msgspec.json.encode(value)


def reply(to: int | str, method: str) -> bytes:
    """The answer to a legacy server's request: to a ping that we are there, else that we cannot."""
    if method == "ping":
        return msgspec.json.encode({"jsonrpc": "2.0", "id": to, "result": {}})
    error = {"code": METHOD_NOT_FOUND, "message": "Nobody can be asked here."}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": to, "error": error})


def with_meta(params: Json, *, modern: bool, progress_token: int | None) -> Json:
    """`params` with what a request says about itself; other keys of `_meta` stay."""
    given = params.get("_meta")
    meta: Json = dict(given) if isinstance(given, dict) else {}
    meta.pop("progressToken", None)  # the caller's own: its progress comes by another way
    if progress_token is not None:
        meta["progressToken"] = progress_token
    if modern:
        meta[f"{_META}protocolVersion"] = MODERN
        meta[f"{_META}clientCapabilities"] = {}
        meta[f"{_META}clientInfo"] = CLIENT
    return {**params, "_meta": meta} if meta else params


def modern_headers(method: str, params: Json, schema: Mapping[str, Any] | None) -> dict[str, str]:
    """What a modern request repeats of its body. `schema`: that of the tool which is called."""
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
    name = params.get(_NAMED_BY.get(method, ""))
    if isinstance(name, str):
        headers["mcp-name"] = header_value(name)
    arguments = params.get("arguments")
    if method == "tools/call" and schema is not None and isinstance(arguments, dict):
        for path, token in mirrored(schema).items():
            text = _scalar(_at(arguments, path))
            if text is not None:
                headers[f"mcp-param-{token}"] = header_value(text)
    return headers


def header_value(text: str) -> str:
    """Plain ASCII as it is; anything else, and what looks encoded already, in base64."""
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="


def mirrored(schema: Mapping[str, Any]) -> dict[Path, str]:
    """Which arguments go into headers too, by their path. Raises NotMcpError for a wrong one."""
    found: dict[Path, str] = {}
    for path, position in _positions(schema):
        if _MIRRORED not in position:
            continue
        token, kind = position[_MIRRORED], position.get("type")
        if not path:
            raise NotMcpError(f"{_MIRRORED} stands where no plain property is.")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise NotMcpError(f"{_MIRRORED} is no name of a header.")
        if kind not in ("string", "integer", "boolean"):
            raise NotMcpError(f"{_MIRRORED} stands at what is no string, integer or boolean.")
        if token.lower() in {other.lower() for other in found.values()}:
            raise NotMcpError(f"{_MIRRORED} names a header twice.")
        found[path] = token
    return found


def _positions(root: Any) -> Iterator[tuple[Path | None, Json]]:
    """All schemas in a schema; with their path where only `properties` lead there."""
    waiting: list[tuple[Path | None, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for word, value in node.items():
            if word == "properties" and isinstance(value, dict):
                deeper = value.items()
                waiting += [(None if path is None else (*path, key), sub) for key, sub in deeper]
            elif word in _SINGLE:
                waiting.append((None, value))
            elif word in _LISTS and isinstance(value, list):
                waiting += [(None, sub) for sub in value]
            elif word in _MAPS and isinstance(value, dict):
                waiting += [(None, sub) for sub in value.values()]


def _at(arguments: Json, path: Path) -> Any:
    node: Any = arguments
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value) if isinstance(value, str | int | float) else None
    except ValueError:  # longer than Python writes out
        return None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; `data` is empty in one that only names a place to resume from."""

    data: bytes
    id: str | None
    retry_ms: int | None


class Events:
    """Turns chunks of a stream, however they were cut, into whole events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._after_cr = False  # a \n that follows belongs to it
        self._data: list[bytes] = []
        self._size = 0
        self._id: str | None = None
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this chunk. Feed no more once it `is_full`."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        self._rest += chunk
        found: list[Event] = []
        if b"\n" in chunk or b"\r" in chunk:  # else it only grows: looking again would be slow
            lines = self._rest.splitlines(keepends=True)
            self._after_cr = self._rest.endswith(b"\r")
            self._rest = lines.pop() if not lines[-1].endswith((b"\r", b"\n")) else bytearray()
            found = [event for line in lines if (event := self._take(line.rstrip(b"\r\n")))]
        return found

    @property
    def is_full(self) -> bool:
        """Whether an event is under way that is longer than any message may be."""
        return self._size + len(self._rest) > MAX_MESSAGE_BYTES

    def _take(self, line: bytes | bytearray) -> Event | None:
        if not line:
            return self._ended()
        name, _, value = bytes(line).partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry_ms = int(value)
        return None

    def _ended(self) -> Event | None:
        is_event = self._data or self._id is not None or self._retry_ms is not None
        event = Event(b"\n".join(self._data), self._id, self._retry_ms) if is_event else None
        self._data, self._size, self._id, self._retry_ms = [], 0, None, None
        return event
