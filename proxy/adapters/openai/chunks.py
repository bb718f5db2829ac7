"""What one piece of a chat completion says. Whatever has a wrong type is passed over."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from proxy.adapters import refusals
from proxy.adapters.openai import usage
from proxy.answer import UpstreamNonsenseError
from proxy.wire.lenient import MAX_DECODED_BYTES


class Thought(NamedTuple):
    """Some thinking. A signature closes it; thinking that is kept back has only `redacted`."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class Fragment(NamedTuple):
    """A part of a tool call: all of it, or as little as a few characters of its arguments."""

    place: int | None  # the `index` that servers tell calls apart by
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece of an answer."""

    is_choice: bool = False  # others come before or after the answer, with counts and the like
    thoughts: tuple[Thought, ...] = ()
    text: str = ""
    refusal: str = ""
    calls: tuple[Fragment, ...] = ()
    finish: str = ""
    stopped_at: str = ""  # the stop sequence that the server has found
    usage: Mapping[str, Any] | None = None


def decoded(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises UpstreamNonsenseError."""
    if len(raw) > MAX_DECODED_BYTES:
        raise UpstreamNonsenseError("The upstream's answer holds more than we take at once.")
    value: object = None
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        try:
            # Python's own reader is slower, but takes NaN and half a UTF-16 pair, which occur.
            value = json.loads(raw.decode(errors="replace"))
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise UpstreamNonsenseError("The upstream's answer holds something that is no JSON object.")
    return value


def read(value: Mapping[str, Any], part: Literal["delta", "message"]) -> Chunk:
    """The piece of an answer that `value` is. Raises UpstreamSaidError where it is an error."""
    refusals.raise_if_said(value)
    choice = _choice(value.get("choices"))
    counts = usage.reported(value.get("usage"))
    if choice is None:
        return Chunk(usage=counts)
    refusals.raise_if_said(choice)
    said = _object(choice.get(part))
    content = said.get("content")
    return Chunk(
        is_choice=True,
        thoughts=(*_thoughts(said), *_thinking_parts(content)),
        text=_content(content),
        refusal=_text(said.get("refusal")) + _part_texts(content, "refusal", "refusal"),
        calls=tuple(_calls(said)),
        finish=_text(choice.get("finish_reason")),
        stopped_at=_text(choice.get("stop_reason")) or _text(choice.get("matched_stop")),
        usage=counts or usage.reported(choice.get("usage")),
    )


def _choice(choices: object) -> Mapping[str, Any] | None:
    """The first choice; no others are ever asked for."""
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, Mapping) and choice.get("index") in (None, 0):
            return choice
    return None


def _content(content: object) -> str:
    return content if isinstance(content, str) else _part_texts(content, "text", "text")


def _part_texts(parts: object, kind: str, field: str) -> str:
    return "".join(_text(part.get(field)) for part in _objects(parts) if part.get("type") == kind)


def _thoughts(said: Mapping[str, Any]) -> list[Thought]:
    """The thinking, once: servers repeat it in several fields for several kinds of client."""
    # These first, for they alone can carry the signatures of the model's own provider.
    for read_items, field in ((_thinking_block, "thinking_blocks"), (_detail, "reasoning_details")):
        found = [thought for item in _objects(said.get(field)) if (thought := read_items(item))]
        if found:
            return found
    for field in ("reasoning_content", "reasoning"):
        if text := _text(said.get(field)):
            return [Thought(text)]
    return []


def _thinking_block(block: Mapping[str, Any]) -> Thought | None:
    if block.get("type") == "redacted_thinking":
        thought = Thought(redacted=_text(block.get("data")))
    else:
        thought = Thought(_text(block.get("thinking")), _text(block.get("signature")))
    return thought if any(thought) else None


def _detail(detail: Mapping[str, Any]) -> Thought | None:
    text = _text(detail.get("text")) or _text(detail.get("summary"))
    thought = Thought(text, _text(detail.get("signature")))
    return thought if any(thought) else None


def _thinking_parts(content: object) -> list[Thought]:
    """Thinking inside of content that is a list of parts, as Mistral's models give it."""
    texts = [
        _content(part.get("thinking"))
        for part in _objects(content)
        if part.get("type") == "thinking"
    ]
    return [Thought(text) for text in texts if text]


def _calls(said: Mapping[str, Any]) -> Iterator[Fragment]:
    for call in _objects(said.get("tool_calls")):
        function = _object(call.get("function"))
        index = call.get("index")
        is_index = isinstance(index, int) and not isinstance(index, bool)
        yield _fragment(function, index if is_index else None, _text(call.get("id")))
    legacy = _object(said.get("function_call"))
    if legacy:
        yield _fragment(legacy, None, "")


def _fragment(function: Mapping[str, Any], index: int | None, call_id: str) -> Fragment:
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else _dumped(arguments)
    return Fragment(index, call_id, _text(function.get("name")), text)


def _dumped(arguments: object) -> str:
    """Arguments that came as what they mean, as text: there it is checked like all others."""
    try:
        return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    except RecursionError as error:
        raise UpstreamNonsenseError("The upstream's answer is nested too deeply.") from error


def _objects(value: object) -> list[Mapping[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
