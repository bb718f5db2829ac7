"""The terminal of a running connector: lines as things happen, and one status line below them."""

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from opscenter_connector.happenings import Happening
from opscenter_connector.plain import clean
from opscenter_connector.standing import Standing
from opscenter_connector.telling import Entry

STYLE = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
MARK_STYLE = {"✔": "green", "●": "green", "▶": "cyan", "+": "green", "↑": "green"}
WIDE = 72  # below this the status line says things shortly


class Screen:
    """Everything that comes from servers or the gateway is shown as text, never as markup."""

    def __init__(self, console: Console, host: str) -> None:
        self._console = console
        self._standing = Standing(host=clean(host))
        self._live = Live(
            self._status(), console=console, auto_refresh=False, transient=True, screen=False
        )
        self._live.start()

    def see(self, happening: Happening) -> None:
        """For the status line."""
        self._standing.see(happening, now_s=time.monotonic())

    def show(self, entry: Entry) -> None:
        """One line above the status line."""
        self._console.print(row(entry))
        self.tick()

    def tick(self) -> None:
        """Draw the status line anew."""
        self._live.update(self._status(), refresh=True)

    def close(self) -> None:
        """Take the status line away and leave the lines."""
        self._live.stop()

    def _status(self) -> Text:
        return status(self._standing, self._console.width, now_s=time.monotonic())


def row(entry: Entry) -> Table:
    """Time, mark and text in columns, so that a long text stays beside its time."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, width=1)
    grid.add_column(overflow="fold")
    style = STYLE[entry.line.level]
    grid.add_row(
        Text(entry.at.astimezone().strftime("%H:%M:%S"), style="dim"),
        Text(entry.line.mark, style=MARK_STYLE.get(entry.line.mark, style)),
        Text(entry.line.text, style=style),
    )
    return grid


def status(standing: Standing, width: int, *, now_s: float) -> Text:
    """The status line: as many of its parts, in their order, as fit on one line of `width`."""
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    text.append("● " if standing.is_connected else "○ ", _colour(standing))
    parts = standing.parts(now_s=now_s, short=width < WIDE)
    text.append(parts[0], "bold")
    for part in [*parts[1:], standing.longest(now_s=now_s)]:
        # One column stays free: a terminal may break the line when the last one is written.
        if part and text.cell_len + 3 + Text(part).cell_len < width:
            text.append(" · ", "dim")
            text.append(part)
    return text


def _colour(standing: Standing) -> str:
    if not standing.is_connected:
        return "red"
    return "yellow" if standing.down or standing.stopping else "green"
