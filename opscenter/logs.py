"""What the process logs, and in which form: nothing secret in either."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from django.db.utils import InterfaceError, OperationalError

from accounts import asked
from accounts.redaction import redacted

FORMS = ("TEXT", "JSON")
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
MOST_CHARS = 4096  # of a message: a path has up to 64 KiB, and anybody may ask for it
# What ends a line somewhere, or moves a terminal's cursor, colours or direction.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Text(logging.Formatter):
    """A line for people, with its traceback below it."""

    def __init__(self) -> None:
        super().__init__(LINE)

    def format(self, record: logging.LogRecord) -> str:
        """The whole of it, so that nothing escapes by a traceback."""
        return redacted(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """One line, whoever wrote what is in it."""
        record.message = within_bounds(redacted(record.message))
        return _visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        """Indented: no line of it passes for one of the log."""
        return "\n".join(f"  {_visible(line)}" for line in super().formatException(ei).split("\n"))


def within_bounds(message: str) -> str:
    """As much of a message as a line takes. Hide its secrets before: half of one is not found."""
    over = len(message) - MOST_CHARS
    return message if over <= 0 else f"{message[:MOST_CHARS]}... and {over} characters more"


def _visible(text: str) -> str:
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def without_outages(record: logging.LogRecord) -> bool:
    """A filter: of a page that found no database the log needs a line, and no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OperationalError | InterfaceError):
        record.exc_info = None
        record.msg = f"{record.msg} (the database does not answer)"
    return True


class Json(logging.Formatter):
    """A line for programs: one object, with the request that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Never a line break inside, whoever wrote the message."""
        said: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": within_bounds(redacted(record.getMessage())),
        }
        if (request := asked.current.get()) is not None:
            said["request_id"] = request.request_id
            said["session"] = redacted(request.session)
            said["key_id"] = request.key_id
        if record.exc_info:
            said["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in said.items() if value})


def configured(level: str, form: str) -> dict[str, Any]:
    """Python's logging, all of it on stderr."""
    formatter = Json if form == "JSON" else Text
    no_frames = "INFO" if level == "DEBUG" else level  # below it they log what they send and get
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "filters": {"outages": {"()": lambda: without_outages}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            # A logger that has no handler at all writes to stderr, and as it likes.
            "nowhere": {"class": "logging.NullHandler"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "uvicorn.error": {"level": no_frames},
            "django.request": {"filters": ["outages"]},
            "httpcore": {"level": no_frames},
            "httpx": {"level": "WARNING"},  # it tells of every probe of a neighbour
            # A traceback for each second that Redis is away; mcp/bell.py says once that it is.
            "channels_redis": {"handlers": ["nowhere"], "propagate": False},
            # Anybody can send a wrong Host; the answer says so, and a traceback says no more.
            "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
        },
    }
