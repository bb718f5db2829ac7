"""The history of a request without what its upstream cannot take. All else stays as it was."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from proxy.wire.body import JSONObject
from proxy.wire.signature import is_local

# Values stay the bytes they were: only a message that changes is written anew.
_listed = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Raws = list[msgspec.Raw]
Message = Mapping[str, msgspec.Raw]


class _Block(msgspec.Struct):
    """What we look at in a content block."""

    type: Any = None
    signature: Any = None


_block_of = msgspec.json.Decoder(_Block).decode


def without_local_thinking(body: JSONObject) -> JSONObject:
    """The body without thinking that this gateway has signed, which other servers refuse."""
    if not body.is_marked:
        return body
    return _without_blocks(body, lambda it: it.type == "thinking" and is_local(it.signature))


def without_thinking(body: JSONObject) -> JSONObject:
    """The body without any thinking of earlier turns."""
    return _without_blocks(body, lambda it: it.type in ("thinking", "redacted_thinking"))


def without_fields(body: JSONObject, names: Iterable[str]) -> JSONObject:
    """The body without these top-level fields."""
    for name in names:
        if name in body.spans:
            body = JSONObject.parse(body.without(name))
    return body


def with_system_folded(body: JSONObject) -> JSONObject:
    """The body with the text of its `system` messages in the turns of the user beside them."""
    if b"system" not in body.part("messages"):
        return body
    told = _told(body)
    if all(role != "system" for role, _ in told):
        return body
    turns: list[_Turn] = []
    waiting: Raws = []
    joining = False  # a system message stood here: the users around it have become neighbours
    for role, raw in told:
        if role == "system":
            waiting += [block for block in _blocks(raw) if _seen(block).type == "text"]
            joining = True
        elif role == "user" and joining:
            _user_of(turns).add([*waiting, *_blocks(raw)])
            waiting, joining = [], False
        else:
            if waiting:
                _user_of(turns).add(waiting)
            turns.append(_Turn(role, raw))
            waiting, joining = [], False
    if waiting:
        _user_of(turns).add(waiting)
    return _with_turns(body, turns)


def _without_blocks(body: JSONObject, goes: Callable[[_Block], bool]) -> JSONObject:
    """The body without the blocks of assistant turns that `goes` names.

    A turn that loses all of its blocks goes too, since servers refuse an empty one; the turns of
    the user around it become one. It held no tool call, so no result loses the call it answers.
    """
    turns: list[_Turn] = []
    changed = joining = False
    for role, raw in _told(body):
        left = _left(raw, goes) if role == "assistant" else raw
        changed = changed or left is not raw
        if left is None:
            joining = True
            continue
        if joining and role == "user" and turns and turns[-1].role == "user":
            turns[-1].add(_blocks(left))
        else:
            turns.append(_Turn(role, left))
        joining = False
    return _with_turns(body, turns) if changed else body


class _Turn:
    """A message of the new history: as it was, or with blocks added to it."""

    def __init__(self, role: str, raw: msgspec.Raw) -> None:
        self.role = role
        self._raw = raw
        self._blocks: Raws | None = None

    def add(self, blocks: Raws) -> None:
        """Say this too. Results of tools come first in the end, as the API demands."""
        if self._blocks is None:
            self._blocks = _blocks(self._raw)
        self._blocks += blocks

    def written(self) -> msgspec.Raw:
        """The message."""
        if self._blocks is None:
            return self._raw
        results = [block for block in self._blocks if _seen(block).type == "tool_result"]
        others = [block for block in self._blocks if _seen(block).type != "tool_result"]
        return _written(_members(self._raw), results + others)


def _user_of(turns: list[_Turn]) -> _Turn:
    """The last turn, if it is the user's, or a new one."""
    if not turns or turns[-1].role != "user":
        turns.append(_Turn("user", msgspec.Raw(b'{"role":"user"}')))
    return turns[-1]


def _left(raw: msgspec.Raw, goes: Callable[[_Block], bool]) -> msgspec.Raw | None:
    """The message without the blocks that go; None where nothing is left, itself where all is."""
    message = _members(raw)
    blocks = _blocks(raw) if _is_list(message.get("content")) else []
    kept = [block for block in blocks if not goes(_seen(block))]
    if len(kept) == len(blocks):
        return raw
    return _written(message, kept) if kept else None


def _told(body: JSONObject) -> list[tuple[str, msgspec.Raw]]:
    try:
        messages = _listed(body.part("messages"))
    except (ValueError, RecursionError):
        return []  # the upstream judges what is no list
    return [(_role(raw), raw) for raw in messages]


def _role(raw: msgspec.Raw) -> str:
    role = _members(raw).get("role")
    decoded = msgspec.json.decode(role) if role is not None else None
    return decoded if isinstance(decoded, str) else ""


def _members(raw: msgspec.Raw) -> Message:
    try:
        return _members_of(raw)
    except (ValueError, RecursionError):
        return {}


def _blocks(raw: msgspec.Raw) -> Raws:
    """The content blocks of a message; a string is one block of text, an empty one is none."""
    content = _members(raw).get("content")
    if content is None:
        return []
    if _is_list(content):
        return _listed(content)
    if not bytes(content).startswith(b'"') or bytes(content) == b'""':
        return []
    return [msgspec.Raw(b'{"type":"text","text":' + bytes(content) + b"}")]


def _is_list(content: msgspec.Raw | None) -> bool:
    return content is not None and bytes(content).startswith(b"[")


def _seen(block: msgspec.Raw) -> _Block:
    try:
        return _block_of(block)
    except (ValueError, RecursionError):
        return _Block()


def _written(message: Message, blocks: Raws) -> msgspec.Raw:
    content = msgspec.Raw(msgspec.json.encode(blocks))
    return msgspec.Raw(msgspec.json.encode({**message, "content": content}))


def _with_turns(body: JSONObject, turns: list[_Turn]) -> JSONObject:
    messages = msgspec.json.encode([turn.written() for turn in turns])
    return JSONObject.parse(body.replaced("messages", messages))
