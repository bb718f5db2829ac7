"""Lines of the log, for people and for programs."""

import json
import logging
import sys

import pytest
from django.conf import settings

from accounts import asked
from accounts.redaction import HIDDEN
from opscenter.logs import Json, Text, configured


def failed(message: str) -> logging.LogRecord:
    try:
        raise ValueError(f"by {settings.KEY_PEPPER}")
    except ValueError:
        return logging.LogRecord("proxy", logging.ERROR, "", 0, message, (), sys.exc_info())


@pytest.mark.parametrize("form", [Text(), Json()], ids=["text", "json"])
def test_it_hides_a_secret_in_a_message_and_in_a_traceback(form: logging.Formatter) -> None:
    line = form.format(failed(f"with {settings.SECRET_KEY}"))
    assert settings.SECRET_KEY not in line and settings.KEY_PEPPER not in line
    assert line.count(HIDDEN) >= 2
    assert "ValueError" in line


def test_it_writes_one_object_in_one_line_with_the_request() -> None:
    headers = [(b"x-claude-code-session-id", b"session-7\nforged")]
    before = asked.current.set(asked.Asked(request_id="req_1", key_id="k1", headers=headers))
    try:
        line = Json().format(failed("two\nlines"))
    finally:
        asked.current.reset(before)
    assert "\n" not in line
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert "ValueError" in said.pop("traceback")
    assert said == {
        "level": "ERROR",
        "logger": "proxy",
        "message": "two\nlines",
        "request_id": "req_1",
        "session": "session-7\nforged",
        "key_id": "k1",
    }


def test_it_leaves_out_what_there_is_not() -> None:
    record = logging.LogRecord("opscenter", logging.INFO, "", 0, "started", (), None)
    assert json.loads(Json().format(record)).keys() == {"time", "level", "logger", "message"}


def test_what_is_kept_quiet_is_not_written_by_python_itself() -> None:
    """Where a logger has no handler at all, Python has one of last resort, which is stderr."""
    loggers = configured("INFO", "TEXT")["loggers"]
    quiet = {name: one for name, one in loggers.items() if not one.get("propagate", True)}
    assert "channels_redis" in quiet
    assert all(one["handlers"] for one in quiet.values())
