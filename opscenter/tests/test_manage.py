"""What commands say to whoever is in trouble, or not where the code was written."""

from pathlib import Path

import pytest

from opscenter.tests.test_setup import Installation

AWAY = {"OPSCENTER_DATABASE_URL": "postgres://somebody:hidden-word@127.0.0.1:9/nothing"}


@pytest.mark.parametrize("command", [["upstreams", "list"], ["migrate"], ["setup"]])
def test_it_says_in_one_line_that_the_database_is_away(tmp_path: Path, command: list[str]) -> None:
    done = Installation(var=tmp_path).manage(*command, **AWAY)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ops-center: the database: connection failed") and "doctor" in line
    assert "hidden-word" not in line


def test_it_says_in_one_line_that_a_table_is_missing(tmp_path: Path) -> None:
    done = Installation(var=tmp_path).manage("upstreams", "list")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ops-center: the database lacks ") and "manage.py migrate" in line


def test_it_shows_where_the_error_was_to_who_asks(tmp_path: Path) -> None:
    done = Installation(var=tmp_path).manage("verifyaudit", "--traceback", **AWAY)
    assert "Traceback (most recent call last)" in done.stderr


def test_it_sends_people_to_the_portal_where_there_is_no_checkout(tmp_path: Path) -> None:
    said = Installation(var=tmp_path).setup(EXTERNAL_API_URL="https://gateway.example.com")
    assert "make connector" not in said
    assert "https://gateway.example.com/portal/machine/" in said
