"""What the process logs, and in which form: nothing secret in either."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from django.db.utils import InterfaceError, OperationalError

from accounts import asked
from accounts.redaction import redacted

FORMS = ("TEXT", "JSON")
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Text(logging.Formatter):
    """A line for people, with its traceback below it."""

    def __init__(self) -> None:
        super().__init__(LINE)

    def format(self, record: logging.LogRecord) -> str:
        """The whole of it, so that nothing escapes by a traceback."""
        return redacted(super().format(record))


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
            "message": redacted(record.getMessage()),
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
