"""Every happening reads as one line that can do nothing to a terminal."""

import dataclasses
from typing import Any, get_args

import pytest

from opscenter_connector import happenings as h
from opscenter_connector import wording
from opscenter_connector.plain import clean

HOSTILE = "\x1b[31mred\x1b[0m\x1b]0;title\x07 [bold]b[/bold]\r\n\u202egnp.exe\x9b2J\x00"


def hostile(kind: type[Any]) -> h.Happening:
    """A happening whose every text comes from somebody with bad intentions."""
    values: dict[str, Any] = {"str": HOSTILE, "int": 3, "float": 1.5, "bool": True}
    given = {
        field.name: values[str(getattr(field.type, "__name__", field.type)).split(" ")[0]]
        for field in dataclasses.fields(kind)
    }
    happening: h.Happening = kind(**given)
    return happening


@pytest.mark.parametrize("kind", get_args(h.Happening))
def test_it_has_a_line_for_each_happening_and_nothing_in_it_moves_a_cursor(kind: type[Any]) -> None:
    line = wording.line(hostile(kind))
    assert line.level in wording.LEVELS
    assert line.text.isprintable()
    assert "\u202e" not in line.text


def test_it_removes_colours_whole_and_keeps_brackets() -> None:
    assert clean(HOSTILE) == "red [bold]b[/bold] gnp.exe2J"


def test_it_bounds_a_line() -> None:
    assert clean("a" * 10_000_000) == "a" * 299 + "…"
    assert clean("é" * 50, 10) == "é" * 9 + "…"


def test_it_names_events_as_logs_do() -> None:
    assert wording.event(h.ClimbedBack()) == "climbed_back"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0001, "0.01 s"), (0.0123, "0.012 s"), (2.44, "2.4 s"), (59.6, "60 s"), (600, "10 min")],
)
def test_it_says_times_as_people_do(value: float, text: str) -> None:
    assert wording.seconds(value) == text


def ended(outcome: str, *, is_error: bool = False, note: str = "") -> wording.Line:
    return wording.line(
        h.CallEnded(
            id="0193-00ab",
            server="clock",
            tool="now",
            outcome=outcome,
            is_error=is_error,
            took_s=0.5,
            note=note,
        )
    )


def test_it_tells_the_ways_a_call_ends_apart() -> None:
    assert ended("done").text == "clock.now #00ab done in 0.5 s"
    assert ended("done", is_error=True, note="no").text == (
        "clock.now #00ab says that it failed after 0.5 s: no"
    )
    assert ended("error", note="no").level == "warning"
    assert ended("cancelled").text == "clock.now #00ab cancelled after 0.5 s"
    assert "outcome unknown" in ended("interrupted").text


def test_it_says_what_holds_commands_and_never_less_quietly() -> None:
    found = wording.line(h.SandboxFound(layer="bubblewrap", held=8, why=""))
    assert (found.level, found.text) == (
        "info",
        "bubblewrap holds commands: 8 attempts to get out failed",
    )
    lesser = wording.line(h.SandboxFound(layer="landlock", held=8, why="no bwrap"))
    assert lesser.text.endswith("failed; no better sandbox (no bwrap)")
    nothing = wording.line(h.SandboxFound(layer="none", held=0, why="no bwrap"))
    assert (nothing.level, "a person is asked before each" in nothing.text) == ("warning", True)
    assert "may do all that you may" in nothing.text
    assert (
        wording.line(h.SandboxFound(layer="", held=0, why="bash is not offered")).level == "error"
    )


def test_it_is_silent_about_a_result_that_arrived() -> None:
    accepted = wording.line(h.CallDelivered(id="0193-00ab", verdict="accepted"))
    conflict = wording.line(h.CallDelivered(id="0193-00ab", verdict="conflict"))
    assert (accepted.level, conflict.level) == ("debug", "warning")
