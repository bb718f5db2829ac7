"""Lines without a terminal: plain text, or one JSON object each; and what libraries log."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from opscenter_connector import plain
from opscenter_connector.happenings import Happening
from opscenter_connector.telling import Entry, Teller

# What the SDK logs of a line that is no message. We count them ourselves, by server: ServerBabbled.
NO_MESSAGE = ("mcp.client.stdio", "Failed to parse JSONRPC message from server")
# Its errors quote what a server wrote, which may be a secret.
QUOTING = "mcp."
TRACE_LINES = 60  # the end of a long one says what it was


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


class Handler(logging.Handler):
    """Gives what the connector's modules and the libraries log to the same place as all else."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        """One line, and one for each of a traceback."""
        if (record.name, record.msg) == NO_MESSAGE:
            return
        level = "error" if record.levelno >= logging.ERROR else "warning"
        if record.levelno < logging.WARNING:
            level = "debug"
        try:
            text = plain.clean(record.getMessage())
        except (
            TypeError,
            ValueError,
        ):  # its arguments do not fit; whose mistake that is, who knows
            text = plain.clean(str(record.msg))
        self._teller.note(level, text, logger=record.name)
        if record.exc_info and record.exc_info[1] is not None:
            for line in _trace(record.name, record.exc_info[1])[-TRACE_LINES:]:
                self._teller.note(level, line, logger=record.name)


def _trace(logger: str, error: BaseException) -> list[str]:
    if logger.startswith(QUOTING):
        lines = [*traceback.format_tb(error.__traceback__), type(error).__name__]
    else:
        lines = traceback.format_exception(error)
    return "".join(lines).splitlines()


@contextmanager
def taken_over(teller: Teller, level: str) -> Iterator[None]:
    """While this lasts nothing is written to the terminal but by `teller`."""
    root = logging.getLogger()
    handler, before = Handler(teller), (root.level, root.handlers[:])
    root.handlers[:] = [handler]
    # Libraries say at "info" what a person here calls debugging.
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
