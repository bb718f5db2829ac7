"""A stream of lines with a JSON object in each, however the chunks were cut."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from proxy.adapters.openai.chunks import decoded
from proxy.answer import UpstreamError, UpstreamNonsenseError
from proxy.wire import message as messages
from proxy.wire import sse
from proxy.wire.lenient import MAX_DECODED_BYTES

DONE = b"[DONE]"
_FIELDS = (b"event:", b"id:", b"retry:", b":")  # of server-sent events, without data of theirs


class Reader(Protocol):
    """What one dialect's objects come to, as events of the Messages API in `out`."""

    def take(self, value: Mapping[str, Any], out: list[bytes]) -> None:
        """One more object. Raises UpstreamError."""

    def done(self, out: list[bytes]) -> None:
        """The server says that there is no more. Raises UpstreamError where something is owed."""

    def end(self, out: list[bytes]) -> None:
        """The body has ended. Raises UpstreamError where it ended early."""


class LineDecoder:
    """Lines with or without `data:` before them: of both kinds a server may stream a task."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rest = bytearray()
        self._failure: UpstreamError | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that `chunk` completes; chunks may be cut anywhere.

        Raises UpstreamError. What came before an error is given out first, the error by the next
        call, so that an answer does not depend on how it was cut.
        """
        known = len(self._rest)
        self._rest += chunk
        end = self._rest.rfind(b"\n", known) + 1
        if end == 0 and len(self._rest) > MAX_DECODED_BYTES:
            raise UpstreamNonsenseError("The upstream's answer holds more than we take at once.")
        lines = bytes(self._rest[:end])
        del self._rest[:end]
        return self._told(lines.split(b"\n"))

    def end(self) -> bytes:
        """The events still owed when the body has ended. Raises UpstreamError if it ended early."""
        rest, self._rest = bytes(self._rest), bytearray()
        told = [self._told([rest])]
        if self._failure is not None:
            raise self._failure
        self._reader.end(told)
        return b"".join(told)

    def _told(self, lines: list[bytes]) -> bytes:
        if self._failure is not None:
            raise self._failure
        out: list[bytes] = []
        try:
            for line in lines:
                self._take(line.strip(), out)
        except UpstreamError as error:
            if not any(out):
                raise
            self._failure = error
        return b"".join(out)

    def _take(self, line: bytes, out: list[bytes]) -> None:
        if line.startswith(_FIELDS):
            return
        data = line.removeprefix(b"data:").strip()
        if data == DONE:
            self._reader.done(out)
        elif data:
            self._reader.take(decoded(data), out)


def whole(tell: Callable[[list[bytes]], None]) -> bytes:
    """What `tell` says in events, as one message."""
    told: list[bytes] = []
    tell(told)
    events = [msgspec.json.decode(event.data) for event in sse.events(b"".join(told))]
    return msgspec.json.encode(messages.assemble(events))
