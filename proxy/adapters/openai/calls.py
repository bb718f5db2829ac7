"""Tool calls that arrive in fragments, in any order, said as blocks one after the other."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from proxy.adapters.openai.chunks import Fragment
from proxy.adapters.openai.think import Halves
from proxy.answer import UpstreamNonsenseError
from proxy.wire.stream import Emitter

MAX_CALLS = 1000  # in one answer; a model that calls tools more often is in a loop
MAX_NAME_CHARS = 512  # four times what the API allows; longer is no name of a tool

_INSIDE_STRING = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_MARK = re.compile(r'["{}\[\]]')


class _Extent:
    """Finds the end of a JSON object that comes in pieces, without reading anything twice."""

    __slots__ = ("_depth", "_escaped", "_in_string", "ended")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.ended = False

    def feed(self, text: str) -> None:
        """Some more of it."""
        at = 0
        if self._escaped and text:
            self._escaped, at = False, 1
        while at < len(text):
            at = self._end_of_string(text, at) if self._in_string else self._next_mark(text, at)

    def _end_of_string(self, text: str, at: int) -> int:
        inside = _INSIDE_STRING.match(text, at)
        end = inside.end() if inside else at
        if end < len(text):  # at a quotation mark, or at a backslash that is the last character
            self._escaped = text[end] == "\\"
            self._in_string = self._escaped
        return end + 1

    def _next_mark(self, text: str, at: int) -> int:
        mark = _MARK.search(text, at)
        if mark is None:
            return len(text)
        match mark[0]:
            case '"':
                self._in_string = True
            case "{" | "[":
                self._depth += 1
            case _:
                self._depth -= 1
                self.ended = self.ended or self._depth <= 0
        return mark.end()


class _Call:
    """One call while it arrives."""

    __slots__ = ("_extent", "_halves", "_head", "closed", "id", "name", "opened", "pieces", "sent")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []  # joined at the end, where they are checked as a whole
        self.sent = 0  # of the pieces
        self.opened = False
        self.closed = False
        self._head = ""  # the first two characters that are not blank
        self._extent = _Extent()
        self._halves = Halves()

    @property
    def is_object(self) -> bool:
        """Whether the arguments can be passed on as they come: they begin as an object with a key.

        `{}` may be a placeholder that some servers put before the real arguments.
        """
        return len(self._head) == 2 and self._head[0] == "{" and self._head[1] != "}"

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are an object that has come to its end."""
        return self._head.startswith("{") and self._extent.ended

    def add(self, fragment: Fragment) -> None:
        """Some more of the call."""
        self.id = self.id or fragment.id
        self._add_name(fragment.name)
        if text := self._halves.joined(fragment.arguments):
            self.pieces.append(text)
            self._extent.feed(text)
            if len(self._head) < 2:
                self._head = (self._head + "".join(text.split()))[:2]

    def _add_name(self, name: str) -> None:
        """Names come whole, split over fragments before the arguments, or whole in every one."""
        if not name or name == self.name or (self.name and self.pieces):
            return
        self.name = name if name.startswith(self.name) else self.name + name
        if len(self.name) > MAX_NAME_CHARS:
            raise UpstreamNonsenseError("The upstream called a tool by a name without end.")


class Calls:
    """The tool calls of one answer. A call is said as it arrives, those after it wait for its end.

    Fragments of several calls may be mixed, but the blocks of the Messages API may not.
    """

    def __init__(
        self, emitter: Emitter, names: Mapping[str, str], new_id: Callable[[str], str]
    ) -> None:
        self._emitter = emitter
        self._names = names
        self._new_id = new_id
        self._latest: dict[int | None, _Call] = {}  # by its place
        self._by_id: dict[tuple[int | None, str], _Call] = {}
        self._pending: deque[_Call] = deque()
        self._arrived = 0
        self.said = 0

    @property
    def unfinished(self) -> bool:
        """Whether more is expected of a call."""
        return bool(self._pending) and not (len(self._pending) == 1 and self._pending[0].is_whole)

    def take(self, fragments: Iterable[Fragment]) -> bytes:
        """The events that some more fragments come to."""
        out: list[bytes] = []
        named: _Call | None = None
        for fragment in fragments:
            call = self._call_of(fragment, named)
            named = call if fragment.name else named
            if not call.closed:
                call.add(fragment)
            elif fragment.arguments.strip():
                raise UpstreamNonsenseError("The upstream went on with a tool call it had ended.")
            out.append(self._advance())
        return b"".join(out)

    def close(self, *, cut: bool = False) -> bytes:
        """End all calls. `cut` says that the last one may be incomplete, and nobody's fault.

        Raises UpstreamNonsenseError where the arguments of a call are not one JSON object.
        """
        out: list[bytes] = []
        while self._pending:
            out.append(self._close(self._pending.popleft(), cut=cut))
        return b"".join(out)

    def _call_of(self, fragment: Fragment, named: _Call | None) -> _Call:
        """The call that a fragment belongs to.

        The index should say it. Some servers leave it out or give every call the same, so another
        id is another call, and so is a name that comes when the call at this index is complete, or
        was `named` just now in the same piece.
        """
        latest = self._latest.get(fragment.place)
        if latest is None:
            return self._new(fragment)
        if fragment.id and latest.id and fragment.id != latest.id:
            return self._by_id.get((fragment.place, fragment.id)) or self._new(fragment)
        is_same = not fragment.name or (fragment.id and fragment.id == latest.id)
        if not is_same and (latest is named or _begins_anew(fragment, latest)):
            return self._new(fragment)
        if fragment.id:
            self._by_id[fragment.place, fragment.id] = latest
        return latest

    def _new(self, fragment: Fragment) -> _Call:
        self._arrived += 1
        if self._arrived > MAX_CALLS:
            raise UpstreamNonsenseError(f"The upstream called more than {MAX_CALLS} tools at once.")
        call = _Call()
        self._latest[fragment.place] = call
        if fragment.id:
            self._by_id[fragment.place, fragment.id] = call
        self._pending.append(call)
        return call

    def _advance(self) -> bytes:
        """Say what can be said of the calls in their order."""
        out: list[bytes] = []
        while len(self._pending) > 1 and self._pending[0].is_whole:
            out.append(self._close(self._pending.popleft(), cut=False))
        call = self._pending[0] if self._pending else None
        if call and call.is_object and call.name:
            out.append(self._open(call))
            out.append(self._emitter.tool_input("".join(call.pieces[call.sent :])))
            call.sent = len(call.pieces)
        return b"".join(out)

    def _open(self, call: _Call) -> bytes:
        if call.opened:
            return b""
        call.opened = True
        self.said += 1
        # A server's own ids come again in later turns, and clients lose a call whose id they know.
        name = self._names.get(call.name, call.name)
        return self._emitter.tool_use(self._new_id("toolu_"), name)

    def _close(self, call: _Call, *, cut: bool) -> bytes:
        call.closed = True
        text = "".join(call.pieces)
        rest = "".join(call.pieces[call.sent :])
        call.pieces = []
        if not call.name:
            if text.strip():
                raise UpstreamNonsenseError("The upstream called a tool without naming it.")
            return b""
        try:
            whole = _checked(text, call.name)
        except UpstreamNonsenseError:
            if not cut:
                raise
            whole = text if call.is_object else ""
        return self._open(call) + self._emitter.tool_input(rest if call.sent else whole)


def _begins_anew(fragment: Fragment, latest: _Call) -> bool:
    return latest.is_whole and (fragment.arguments.strip() != "" or fragment.name != latest.name)


def _checked(text: str, name: str) -> str:
    """The arguments of a call as one JSON object. Raises UpstreamNonsenseError where they are none.

    Broken ones end the answer in an error before their block is closed. Claude Code runs nothing
    then and asks again, and a program sees a named error; passed on, they would crash the SDKs.
    """
    value = _value(text)
    if isinstance(value, dict):
        return text
    if isinstance(value, str):
        text = value  # an object that was encoded twice
        value = _value(text)
    elif text.lstrip().startswith("{}"):
        text = text.lstrip().removeprefix("{}")  # a placeholder, and then the real arguments
        value = _value(text)
    if isinstance(value, dict):
        return text
    if value is None and text.strip() in {"", "null"}:
        return "{}"
    raise UpstreamNonsenseError(
        f"The upstream called the tool {name} with arguments that are not a JSON object."
    )


def _value(text: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return value
