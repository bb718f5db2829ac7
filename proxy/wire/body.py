"""Find what we need in a JSON body and change it without rebuilding the rest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from proxy.wire.signature import MARK

_MARK = MARK.encode()
# One pass in C over the whole text; each top-level value stays the bytes it was.
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Possessive: a key may be as long as the body, and nothing is ever tried twice.
_KEY = re.compile(rb'[ \t\n\r]*("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\n\r]*:[ \t\n\r]*')
_NEXT = re.compile(rb"[ \t\n\r]*([,}])")
_TOO_DEEP = "The request body is nested too deeply."
_TWICE = "The request body has the same key twice at its top level."

MAX_MEMBERS = 1000  # the API has about thirty; a million would keep everybody else waiting
MODEL_CHARS = 256  # the longest model name that a table of ours holds


class BodyError(Exception):
    """A body that cannot be served. The text names the field and goes to the client."""


@dataclass(frozen=True, slots=True)
class JSONObject:
    """A JSON object as its bytes, with the place of each top-level value."""

    raw: bytes
    spans: Mapping[str, tuple[int, int]]
    is_marked: bool = False  # it may hold something of this gateway's own, which others refuse

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read `raw`. Raises BodyError where it is not one JSON object in UTF-8."""
        try:
            if not raw.isascii():
                raw.decode()  # values that we only pass on are not decoded anywhere else
            members = _members_of(raw)
        except UnicodeDecodeError as error:
            raise BodyError("The request body is not valid UTF-8.") from error
        except RecursionError as error:
            raise BodyError(_TOO_DEEP) from error
        except msgspec.ValidationError as error:
            raise BodyError("The request body must be a JSON object.") from error
        except msgspec.DecodeError as error:
            raise BodyError(f"The request body is not valid JSON: {error}.") from error
        # One search, for it is what costs most of looking at a large body that is only passed on.
        return cls(raw, _spans(raw, members), _MARK in raw)

    def value(self, name: str, default: Any = None) -> Any:
        """The decoded top-level value of `name`."""
        span = self.spans.get(name)
        return default if span is None else _decoded(self.raw[span[0] : span[1]], name)

    def decoded(self) -> dict[str, Any]:
        """The whole object as Python values. Raises BodyError for a number that none can hold."""
        return {name: self.value(name) for name in self.spans}

    def part(self, name: str) -> bytes:
        """The bytes of the top-level value of `name`, empty where it is missing."""
        span = self.spans.get(name)
        return b"" if span is None else self.raw[span[0] : span[1]]

    def replaced(self, name: str, value: bytes) -> bytes:
        """The whole text with `name` set to the JSON `value`; all else stays as it is."""
        span = self.spans.get(name)
        if span is not None:
            return self.raw[: span[0]] + value + self.raw[span[1] :]
        inside = self.raw.index(b"{") + 1
        comma = b"," if self.spans else b""
        member = msgspec.json.encode(name) + b":" + value + comma
        return self.raw[:inside] + member + self.raw[inside:]

    def without(self, name: str) -> bytes:
        """The whole text without `name`; all else stays as it is."""
        span = self.spans.get(name)
        if span is None:
            return self.raw
        begin = self.raw.index(b"{") + 1
        # The spans lie in the order of the text, and what stands between two is a comma and a key.
        ends = [end for _, end in self.spans.values() if end < span[0]]
        if ends:
            return self.raw[: ends[-1]] + self.raw[span[1] :]
        after = _NEXT.match(self.raw, span[1])
        rest = after.end() if after is not None and after[1] == b"," else span[1]
        return self.raw[:begin] + self.raw[rest:]


def _decoded(raw: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise BodyError(f"{name}: {error}") from error
    except RecursionError as error:  # `parse` may have had a little more room
        raise BodyError(_TOO_DEEP) from error


def _spans(raw: bytes, members: Mapping[str, msgspec.Raw]) -> dict[str, tuple[int, int]]:
    """Walk the top level by the known lengths of its values.

    A key that stands twice is one member here but two in the text, so the walk does not come out
    even. Such a body is refused: two readers of it could take two different models from it.
    """
    if len(members) > MAX_MEMBERS:
        raise BodyError(f"The request body has more than {MAX_MEMBERS} keys at its top level.")
    spans: dict[str, tuple[int, int]] = {}
    at = raw.index(b"{") + 1
    mark = b""
    for name, value in members.items():
        key = _KEY.match(raw, at)
        if key is None or msgspec.json.decode(key[1]) != name:
            raise BodyError(_TWICE)
        start = key.end()
        end = start + len(memoryview(value))
        after = _NEXT.match(raw, end)
        if after is None or raw[start:end] != bytes(value):
            raise BodyError(_TWICE)
        spans[name] = (start, end)
        at, mark = after.end(), after[1]
    if members and (mark != b"}" or raw[at:].strip(b" \t\n\r")):
        raise BodyError(_TWICE)
    return spans


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest:
    """A request for /v1/messages: the few fields we act on, and the body as it came."""

    body: JSONObject  # never rebuilt field by field: tomorrow's fields must survive us
    model: str
    stream: bool
    max_tokens: int = 0  # of the answer; 0 where it is only to be counted

    @classmethod
    def parse(cls, raw: bytes, *, counting: bool = False) -> Self:
        """Read `raw`; `counting` asks for what count_tokens needs, which has no max_tokens.

        Raises BodyError in the API's own wording (`max_tokens: Field required`).
        """
        body = JSONObject.parse(raw)
        for name in ("model", "messages") if counting else ("model", "messages", "max_tokens"):
            if name not in body.spans:
                raise BodyError(f"{name}: Field required")
        if not body.part("messages").startswith(b"["):
            raise BodyError("messages: Input should be a valid list")
        return cls(
            body=body,
            model=_model(body.value("model")),
            stream=_stream(body),
            max_tokens=0 if counting else _max_tokens(body.value("max_tokens")),
        )

    def streaming(self) -> Self:
        """The same request with streaming forced."""
        if self.stream:
            return self
        body = JSONObject.parse(self.body.replaced("stream", b"true"))
        return replace(self, body=body, stream=True)

    def sent_to(self, model: str, body: JSONObject | None = None) -> bytes:
        """The body, or a cleaned one, for an upstream that knows the model by another name."""
        body = self.body if body is None else body
        if model == self.model:
            return body.raw
        return body.replaced("model", msgspec.json.encode(model))


def _model(value: Any) -> str:
    if not isinstance(value, str):
        raise BodyError("model: Input should be a valid string")
    if not value:
        raise BodyError("model: String should have at least 1 character")
    if len(value) > MODEL_CHARS or not value.isprintable():
        raise BodyError(f"model: at most {MODEL_CHARS} printable characters")
    return value


def _stream(body: JSONObject) -> bool:
    value = body.value("stream", False)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BodyError("stream: Input should be a valid boolean")
    return value


def _max_tokens(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BodyError("max_tokens: Input should be a valid integer")
    if not 0 <= value < 2**31:
        raise BodyError("max_tokens: Input should be from 0 to 2147483647")
    return value
