"""The content blocks of a faulty stream: opened, numbered and closed as clients expect it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.answer import UpstreamNonsenseError
from proxy.wire.faults import TOOL_CALLS, ToolIds
from proxy.wire.stream import STREAMED, event

_FIELDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_HOMES = {
    "text_delta": frozenset({"text"}),
    "citations_delta": frozenset({"text"}),
    "thinking_delta": frozenset({"thinking"}),
    "signature_delta": frozenset({"thinking"}),
    "input_json_delta": TOOL_CALLS,
}
_KNOWN = frozenset({"text", "thinking", "redacted_thinking"}) | TOOL_CALLS
# What may open a block of its own. A signature or a citation alone has nothing to belong to.
_BEGINNINGS = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
}

MAX_BLOCKS = 10_000  # no answer has a hundred
MAX_WAITING = 64  # blocks begun inside an open tool call; each is looked at again for every other
MAX_WAITING_BYTES = 32 * 1024 * 1024  # of them: as long as the longest event
MAX_HELD_BYTES = 64 * 1024  # between an input of `{}` and what follows it: pings, if anything

Data = dict[str, Any]


@dataclass(slots=True)
class _Open:
    """The open block. `said` is its index as the upstream counts."""

    kind: str
    said: object
    index: int
    block: Mapping[str, Any]  # as the upstream began it
    whole_input: str = ""  # came with the start; stands unless deltas bring another
    held: list[bytes] = field(default_factory=list)  # an input of `{}`, and what came after it
    held_bytes: int = 0
    grown: bool = False


class Blocks:
    """Turns block events as they come into block events as they should be.

    Every method gives back the bytes of zero or more whole events. An event that is right comes
    back as the bytes it was. Raises UpstreamNonsenseError for more than a message can hold.
    """

    __slots__ = (
        "_ids",
        "_index",
        "_late",
        "_later",
        "_later_bytes",
        "_open",
        "called",
        "chars",
        "plain",
    )

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._ids = ToolIds(new_id)
        self._open: _Open | None = None
        self._index = -1
        self._later: list[tuple[bytes, Data]] = []
        self._later_bytes = 0
        self._late: set[object] = set()
        self.called = False  # whether a tool of the client's was
        self.chars = 0  # of output so far
        # Index, type and field of a delta that needs no more than to look like this one.
        self.plain: tuple[bytes, bytes, bytes] | None = None

    def take(self, raw: bytes, data: Data) -> bytes:
        """One event of a block: its bytes, and what they mean."""
        if self._open is not None and self._is_for_later(self._open, data):
            return self._put_off(raw, data)
        match data["type"]:
            case "content_block_start":
                return self._begin(raw, data)
            case "content_block_delta":
                return self._grow(raw, data)
            case _:
                return self._stop(raw, data)

    def pass_on(self, raw: bytes) -> bytes:
        """An event that belongs to no block, in its place between those that do."""
        if self._open is None or not self._open.held:
            return raw
        self._hold(self._open, raw)
        return b""

    def close(self) -> bytes:
        """The end of all that is still open."""
        closed = []
        while self._open is not None:
            closed.append(self._closed(self._open, b""))
        return b"".join(closed)

    # What another block says while a tool call is open waits for the end of the call: closed too
    # early, the call would run with half of its input.

    def _is_for_later(self, it: _Open, data: Data) -> bool:
        if it.kind not in TOOL_CALLS:
            return False
        said, delta = _index_of(data), data.get("delta")
        if said in self._late:
            return True
        if data["type"] == "content_block_start":
            return said is not None and said != it.said
        return (
            data["type"] == "content_block_delta"
            and isinstance(delta, Mapping)
            and isinstance(delta.get("type"), str)
            and delta["type"] in _BEGINNINGS
        )

    def _put_off(self, raw: bytes, data: Data) -> bytes:
        if data["type"] == "content_block_start":
            self._late.add(_index_of(data))
        self._later.append((raw, data))
        self._later_bytes += len(raw)
        if len(self._late) > MAX_WAITING or self._later_bytes > MAX_WAITING_BYTES:
            raise UpstreamNonsenseError("The upstream began too many blocks inside a tool call.")
        return b""

    def _caught_up(self) -> bytes:
        later, self._later, self._later_bytes = self._later, [], 0
        self._late.clear()
        return b"".join(self.take(raw, data) for raw, data in later)

    def _begin(self, raw: bytes, data: Data) -> bytes:
        block, said = data.get("content_block"), _index_of(data)
        if not isinstance(block, Mapping) or not isinstance(kind := block.get("type"), str):
            return b""  # its first delta says what it is
        if (it := self._open) is not None:
            if kind in STREAMED and not it.grown and (it.said, it.block) == (said, block):
                return b""  # the same start twice
            return self._closed(it, b"") + self.take(raw, data)
        it = self._opened(kind, said, block)
        right, whole = self._repaired(it, block)
        if right != block or said != it.index:
            raw = event("content_block_start", data | {"index": it.index, "content_block": right})
        return raw + b"".join(self._delta(it, delta) for delta in whole)

    def _opened(self, kind: str, said: object, block: Mapping[str, Any]) -> _Open:
        self._index += 1
        if self._index >= MAX_BLOCKS:
            raise UpstreamNonsenseError(f"The upstream sent more than {MAX_BLOCKS} blocks.")
        self._open = _Open(kind, said, self._index, block)
        self.called = self.called or kind == "tool_use"
        return self._open

    def _repaired(self, it: _Open, block: Mapping[str, Any]) -> tuple[Data, list[Data]]:
        """The block as it should begin, and as deltas what clients read from deltas alone."""
        right, whole = dict(block), []
        if it.kind in {"text", "thinking"}:
            names = ("text",) if it.kind == "text" else ("thinking", "signature")
            for name in names:
                if isinstance(value := block.get(name), str) and value:
                    whole.append({"type": f"{name}_delta", name: value})
                right[name] = ""
        elif it.kind in TOOL_CALLS:
            right["id"] = self._ids.own(it.kind, block.get("id"))
            given, right["name"] = block.get("input"), str(block.get("name") or "")
            right["input"] = given if isinstance(given, Mapping) else {}
            if it.kind in STREAMED:
                right["input"], it.whole_input = {}, _json(given)
        elif "tool_use_id" in block:
            right["tool_use_id"] = self._ids.answered(block["tool_use_id"])
        return right, whole

    def _grow(self, raw: bytes, data: Data) -> bytes:
        delta = data.get("delta")
        if not isinstance(delta, Mapping) or not isinstance(kind := delta.get("type"), str):
            return b""
        name = _FIELDS.get(kind, "")
        value = delta.get(name) if name else ""
        text = _json(value) if kind == "input_json_delta" and value is not None else value
        if not isinstance(text, str):
            return b""
        self.chars += len(text)
        if (it := self._open) is None or not _fits(it.kind, kind):
            return self._elsewhere(kind, text, _index_of(data))
        if data.get("index") != it.index or text != value:
            new = {**delta, name: text} if name else delta
            raw = event("content_block_delta", data | {"index": it.index, "delta": new})
        if kind == "input_json_delta":
            return self._grow_input(it, raw, text)
        it.grown = True
        self._learn(it, kind, name)
        return raw

    def _elsewhere(self, kind: str, text: str, said: object) -> bytes:
        """Text or thinking that no open block can take gets a block of its own."""
        if not text or kind not in _BEGINNINGS:
            return b""
        closed = self._closed(self._open, b"") if self._open is not None else b""
        block = _BEGINNINGS[kind]
        it = self._opened(block["type"], said, block)
        it.grown = True
        begun = event("content_block_start", {"index": it.index, "content_block": block})
        return closed + begun + self._delta(it, {"type": kind, _FIELDS[kind]: text})

    def _grow_input(self, it: _Open, raw: bytes, text: str) -> bytes:
        stripped = "" if it.grown else text.strip()
        if not it.grown and stripped in {"", "{}"}:
            # Some servers say `{}` first and the real input after it, which together is no JSON.
            if stripped and not it.held:
                self._hold(it, raw)
                return b""
            return b"" if text else self.pass_on(raw)
        passed = b"".join(it.held[1:])
        it.grown, it.held, it.whole_input = True, [], ""
        self._learn(it, "input_json_delta", "partial_json")
        return passed + raw

    def _hold(self, it: _Open, raw: bytes) -> None:
        it.held_bytes += len(raw)
        if it.held_bytes <= MAX_HELD_BYTES:
            it.held.append(raw)

    def _learn(self, it: _Open, kind: str, name: str) -> None:
        if it.said == it.index and name:
            self.plain = (b"%d" % it.index, kind.encode(), name.encode())

    def _stop(self, raw: bytes, data: Data) -> bytes:
        said = _index_of(data)
        if (it := self._open) is None or said not in {None, it.said}:
            return b""
        return self._closed(it, raw if data.get("index") == it.index else b"")

    def _closed(self, it: _Open, stop: bytes) -> bytes:
        """The end of the open block, and after it what has waited for that."""
        held = it.held
        if it.whole_input:
            delta = {"type": "input_json_delta", "partial_json": it.whole_input}
            held = [*held[1:], self._delta(it, delta)]
        self._open = self.plain = None
        stop = stop or event("content_block_stop", {"index": it.index})
        return b"".join(held) + stop + self._caught_up()

    def _delta(self, it: _Open, delta: Data) -> bytes:
        it.grown = True
        return event("content_block_delta", {"index": it.index, "delta": delta})


def _fits(block: str, delta: str) -> bool:
    """Whether a block takes such a delta. One that we do not know takes any."""
    homes = _HOMES.get(delta)
    if homes is None or block in homes:
        return True
    return block not in _KNOWN and not block.endswith("_tool_result")


def _index_of(data: Data) -> int | None:
    said = data.get("index")
    return said if isinstance(said, int) else None


def _json(value: object) -> str:
    """The input of a tool call as JSON text; empty where there is none, or none worth saying."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if value else ""
