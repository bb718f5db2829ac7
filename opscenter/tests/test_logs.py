"""Lines of the log, for people and for programs."""

import json
import logging
import sys

import pytest
from django.conf import settings

from accounts import asked
from accounts.redaction import HIDDEN
from opscenter.logs import MOST_CHARS, Json, Text, configured


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


def test_no_stranger_writes_a_line_of_text_nor_to_the_terminal() -> None:
    forged = "x\r\n2026-11-27 INFO forged\x1b[2J\u2028\x9b31m\u202e"
    try:
        raise ValueError(forged)
    except ValueError:
        why = sys.exc_info()
    record = logging.LogRecord("proxy", logging.ERROR, "", 0, "with %s", (forged,), why)
    first, *rest = Text().format(record).split("\n")
    assert r"with x\r\n2026-11-27 INFO forged\x1b[2J\u2028\x9b31m\u202e" in first
    assert len(rest) > 1 and all(line.startswith("  ") for line in rest)
    assert not any(sign in "".join(rest) for sign in "\r\x1b\u2028\x9b\u202e")


@pytest.mark.parametrize("form", [Text(), Json()], ids=["text", "json"])
def test_a_long_path_is_not_a_long_line(form: logging.Formatter) -> None:
    path = "a" * (MOST_CHARS - 20) + settings.KEY_PEPPER + "a" * 60_000
    record = logging.LogRecord("django.request", logging.WARNING, "", 0, "No %s", (path,), None)
    line = form.format(record)
    assert len(line) < MOST_CHARS + 200 and "characters more" in line
    assert settings.KEY_PEPPER[:8] not in line


def test_it_leaves_out_what_there_is_not() -> None:
    record = logging.LogRecord("opscenter", logging.INFO, "", 0, "started", (), None)
    assert json.loads(Json().format(record)).keys() == {"time", "level", "logger", "message"}


def test_what_is_kept_quiet_is_not_written_by_python_itself() -> None:
    """Where a logger has no handler at all, Python has one of last resort, which is stderr."""
    loggers = configured("INFO", "TEXT")["loggers"]
    quiet = {name: one for name, one in loggers.items() if not one.get("propagate", True)}
    assert "channels_redis" in quiet
    assert all(one["handlers"] for one in quiet.values())
