"""A history in which the gateway ran tools, as the upstream would have said it itself (pure)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.wire import ownblocks
from proxy.wire.body import BodyError, JSONObject

NameOf = Callable[[str, str], str]  # of a server and its tool to the name that the model knows
NO_RESULT = "The call was cut off. Whether the tool ran is not known."
LISTING = "mcp_tool_listing"
_LISTING = b'"' + LISTING.encode() + b'"'
_messages_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_message_of = msgspec.json.Decoder(dict[str, Any]).decode

_KEPT = ("content", "is_error", "cache_control")  # of a result

Block = dict[str, Any]


def holds_own(body: JSONObject) -> bool:
    """Whether the history may hold blocks of ours."""
    return ownblocks.MARK in body.raw


def rewound(body: JSONObject, name_of: NameOf) -> JSONObject:
    """The body with our calls as ordinary ones: each in its turn, and answered by the user.

    The messages that hold none stay the bytes they were, so that an upstream's cache still fits.
    """
    if ownblocks.MARK not in body.raw and _LISTING not in body.raw:
        return body
    try:
        told = _messages_of(body.part("messages"))
        writer = _Writer(name_of)
        for raw in told:
            writer.take(raw)
        messages = writer.messages()
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise BodyError("messages: a message of the assistant cannot be read.") from error
    return JSONObject.parse(body.replaced("messages", msgspec.json.encode(messages)))


class _Writer:
    """The new history while it grows."""

    def __init__(self, name_of: NameOf) -> None:
        self._name_of = name_of
        self._messages: list[Any] = []
        self._results: list[Block] = []  # they open the next message of the user's

    def take(self, raw: msgspec.Raw) -> None:
        text = bytes(raw)
        if ownblocks.MARK in text or _LISTING in text:
            said = _message_of(raw)
            if said.get("role") == "assistant" and isinstance(said.get("content"), list):
                self._answer()
                self._assistant(said)
                return
        if not self._results:
            self._messages.append(raw)
            return
        said = _message_of(raw)
        if said.get("role") != "user":
            self._answer()
            self._messages.append(raw)
            return
        results, self._results = self._results, []
        self._messages.append(said | {"content": results + _blocks(said.get("content"))})

    def messages(self) -> list[Any]:
        self._answer()
        return self._messages

    def _answer(self) -> None:
        if self._results:
            results, self._results = self._results, []
            self._messages.append({"role": "user", "content": results})

    def _assistant(self, said: Block) -> None:
        for number, turn in enumerate(_turns(said["content"])):
            if number:
                self._answer()
            content = [self._as_said(block) for block in turn.blocks]
            ours = [ownblocks.upstream_id(block.get("id")) for block in turn.blocks]
            called = [one for one in ours if one]
            found = {one["tool_use_id"]: one for one in map(_result, turn.results)}
            # In the order of the calls, as the upstream was told when they were run.
            self._results = [found.get(one) or _unanswered(one) for one in called]
            if content:
                self._messages.append(said | {"content": content})

    def _as_said(self, block: Block) -> Block:
        call_id = ownblocks.upstream_id(block.get("id"))
        return self._use(block, call_id) if call_id else block

    def _use(self, block: Block, call_id: str) -> Block:
        server, tool = str(block.get("server_name", "")), str(block.get("name", ""))
        kept = {key: value for key, value in block.items() if key == "cache_control"}
        given = block.get("input")
        return {
            "type": "tool_use",
            "id": call_id,
            "name": self._name_of(server, tool),
            "input": given if isinstance(given, dict) else {},
            **kept,
        }


def _result(block: Block) -> Block:
    kept: Block = {key: block[key] for key in _KEPT if block.get(key)}
    kept.setdefault("content", [])
    call_id = ownblocks.upstream_id(block.get("tool_use_id"))
    return {"type": "tool_result", "tool_use_id": call_id, **kept}


def _unanswered(call_id: str) -> Block:
    return {
        "type": "tool_result",
        "tool_use_id": call_id,
        "is_error": True,
        "content": NO_RESULT,
    }


@dataclass(slots=True)
class _Turn:
    """What the upstream said in one turn, and what its calls of ours came to."""

    blocks: list[Block] = field(default_factory=list)
    results: list[Block] = field(default_factory=list)


def _turns(blocks: list[Block]) -> list[_Turn]:
    """Results stand at the end of their turn: what follows them is the next."""
    turns = [_Turn()]
    for at, block in enumerate(blocks):
        if block.get("type") == "mcp_tool_result" and ownblocks.upstream_id(
            block.get("tool_use_id")
        ):
            turns[-1].results.append(block)
        elif block.get("type") != LISTING and not _is_line(block, blocks[at + 1 : at + 2]):
            if turns[-1].results:
                turns.append(_Turn())
            turns[-1].blocks.append(block)
    return turns


def _is_line(block: Block, after: list[Block]) -> bool:
    """Whether it is the line that tells a person of the call behind it."""
    if block.get("type") != "text" or not after or after[0].get("type") != "mcp_tool_use":
        return False
    use = after[0]
    if not ownblocks.upstream_id(use.get("id")):
        return False
    line = ownblocks.line_of(str(use.get("server_name")), str(use.get("name")), use.get("input"))
    return bool(block.get("text") == line)


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content) if isinstance(content, list) else []
