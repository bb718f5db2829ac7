"""Lines without a terminal: plain text, or one JSON object each."""

import json
from typing import TextIO

from opscenter_connector.happenings import Happening
from opscenter_connector.telling import Entry


class TextLog:
    """`2026-11-25 18:02:11 warning  not connected: …`, in local time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def see(self, happening: Happening) -> None:
        """Nothing is shown but lines."""

    def show(self, entry: Entry) -> None:
        """One line, at once."""
        at = entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        self._stream.write(f"{at} {entry.line.level:7} {entry.line.text}\n")
        self._stream.flush()

    def tick(self) -> None:
        """Nothing moves here."""

    def close(self) -> None:
        """The stream belongs to whoever gave it."""


class JsonLog(TextLog):
    """`{"ts": …, "level": …, "event": …, "text": …}` and the fields of the event, in UTC."""

    def show(self, entry: Entry) -> None:
        """One object on one line; ASCII, so that no text can do anything to a terminal."""
        said = {
            "ts": entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": entry.line.level,
            "event": entry.event,
            "text": entry.line.text,
        }
        self._stream.write(json.dumps(said | entry.fields, default=str) + "\n")
        self._stream.flush()
