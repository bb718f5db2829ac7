"""Bytes to events and back, however the chunks were cut."""

import re
from collections.abc import Iterator
from typing import NamedTuple

# WHATWG HTML, "9.2.6 Interpreting an event stream": a line ends in CRLF, LF or CR; a blank one ends
# an event. The atomic group keeps a single CRLF from being read as two line ends.
_BLANK = re.compile(rb"(?>\r\n|\n|\r){2}")
_LINE_END = re.compile(rb"\r\n|\n|\r")

MAX_EVENT_BYTES = 32 * 1024 * 1024  # a whole web page may arrive in one event; more is a fault

STALL_S = 5.0  # a silence inside a stream that a person notices
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class EventTooLongError(Exception):
    """An event does not end."""


class Event(NamedTuple):
    """One server-sent event: its name (empty where the stream gave none) and its data."""

    name: str
    data: bytes


class Splitter:
    """Cuts a stream into blocks of whole events, so that none is ever passed on in part."""

    __slots__ = ("_has_cr", "_most_bytes", "_rest")

    def __init__(self, most_bytes: int = MAX_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()  # grows in place: an event may come in a million small chunks
        self._has_cr = False

    def feed(self, chunk: bytes) -> bytes:
        """All whole events that `chunk` completes, as the bytes they were; empty for none."""
        if not self._rest and chunk.endswith(b"\n\n"):
            return chunk  # what nearly every chunk of nearly every upstream looks like
        known = len(self._rest)
        self._rest += chunk
        self._has_cr = self._has_cr or b"\r" in chunk
        end = self._end_of_last_event(known)
        if end == 0:
            if len(self._rest) > self._most_bytes:
                raise EventTooLongError(f"an event is longer than {self._most_bytes} bytes")
            return b""
        block = bytes(self._rest[:end])
        del self._rest[:end]
        self._has_cr = b"\r" in self._rest
        return block

    @property
    def rest(self) -> bytes:
        """What has arrived of an event that is not whole yet."""
        return bytes(self._rest)

    def _end_of_last_event(self, known: int) -> int:
        """Where it is; 0 for nowhere. What lies before `known` was searched when it arrived, but
        for its last bytes."""
        if not self._has_cr:
            found = self._rest.rfind(b"\n\n", max(0, known - 1))
            return found + 2 if found >= 0 else 0
        end = 0
        for blank in _BLANK.finditer(self._rest, max(0, known - 3)):
            end = blank.end()
        return end


def events(block: bytes) -> Iterator[Event]:
    """The events of a block that a Splitter gave out. Comments and other fields are passed over."""
    name = ""
    data: list[bytes] = []
    for line in _LINE_END.split(block):
        if not line:
            if data:
                yield Event(name, b"\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")


def encode(name: str, data: bytes) -> bytes:
    """One event. Without a name it has no such line, and data of several lines stays so."""
    lines = data.replace(b"\n", b"\ndata: ")
    head = b"event: %b\n" % name.encode() if name else b""
    return b"%bdata: %b\n\n" % (head, lines)
