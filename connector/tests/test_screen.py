"""The terminal of a running connector."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from opscenter_connector import happenings as h
from opscenter_connector.screen import Screen, status
from opscenter_connector.standing import Standing
from opscenter_connector.telling import Teller

READY = h.ServerChanged(server="files", transport="stdio", state="ready", tools=12)
CLOCK = h.ServerChanged(server="clock", transport="stdio", state="ready", tools=2)
DOWN = h.ServerChanged(server="clock", transport="stdio", state="failed", error="no")
CONNECTED = h.Connected(transport="websocket", connector="c", epoch=2, max_in_flight=4)
LOST = h.Lost(transport="websocket", code=None, reason="no")
WAITING = h.Waiting(transport="websocket", delay_s=12, reason="no")


def started(number: int, tool: str = "now") -> h.CallStarted:
    return h.CallStarted(
        id=f"0193-{number:04}", server="clock", tool=tool, has_effects=False, limit_s=30
    )


def ended(number: int, *, is_error: bool = False) -> h.CallEnded:
    return h.CallEnded(
        id=f"0193-{number:04}",
        server="clock",
        tool="now",
        outcome="done",
        is_error=is_error,
        took_s=1,
    )


def line(*seen: h.Happening, width: int = 100, host: str = "g.example") -> str:
    standing = Standing(host=host)
    for happening in seen:
        standing.see(happening, now_s=100.0)
    return status(standing, width, now_s=102.0).plain


def test_it_says_what_a_person_wants_to_know_on_one_line() -> None:
    calls = [happening for n in range(37) for happening in (started(n), ended(n))]
    assert line(CONNECTED, READY, CLOCK, *calls, started(99)) == (
        "● connected by websocket to g.example · 2 servers, 14 tools · 1 running · 37 done"
        " · clock.now 2 s"
    )


def test_it_says_when_it_tries_again() -> None:
    assert line(CONNECTED, LOST, WAITING).startswith(
        "○ not connected to g.example, again in 10 s · 0 servers, 0 tools"
    )
    assert line().startswith("○ connecting to g.example")


def test_it_shows_servers_that_are_down_and_calls_that_failed() -> None:
    said = line(CONNECTED, READY, CLOCK, DOWN, started(1), ended(1, is_error=True))
    assert "1 server, 12 tools · 1 down · 0 running · 0 done · 1 failed" in said


def test_it_shows_how_far_the_longest_call_is() -> None:
    progress = h.CallProgress(id="0193-0001", progress=5, total=20)
    assert line(CONNECTED, started(1), progress).endswith("clock.now 25% 2 s")


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (80, "● websocket · 2 servers, 14 tools · 1 running · 0 done · clock.now 2 s"),
        (44, "● websocket · 14 tools · 1 running · 0 done"),
        (40, "● websocket · 14 tools · 1 running"),
        (24, "● websocket · 1 running"),
        (8, "● webs…"),
    ],
)
def test_it_leaves_out_what_matters_least(width: int, said: str) -> None:
    host = "a.gateway.with.a.long.name.example"
    assert line(CONNECTED, READY, CLOCK, started(1), width=width, host=host) == said
    assert cell_len(said) < width


def test_it_keeps_the_lines_and_takes_the_status_line_away() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60, height=10, color_system=None)
    teller = Teller(Screen(console, "g.example"), "info")
    teller.tell(CONNECTED)
    teller.tell(h.Trouble(what="server", reason="[red]\x1b[2Jboo[/red] " + "wide 漢字 " * 12))
    teller.close()

    shown = stream.getvalue()
    assert "[red]boo[/red]" in shown
    assert "\x1b[2J" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is back
    # The last of it: the status line is wiped, and nothing stands there.
    assert shown.rsplit("\x1b[2K", 1)[1].strip("\r\n\x1b[?25h1A") == ""


def test_it_uses_no_colour_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60, color_system="standard")
    teller = Teller(Screen(console, "g.example"), "info")
    teller.tell(h.Trouble(what="server", reason="boo"))
    teller.close()
    assert "\x1b[31m" not in stream.getvalue()
    assert "boo" in stream.getvalue()
