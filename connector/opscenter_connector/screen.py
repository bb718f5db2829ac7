"""The terminal of a running connector: lines as things happen, and one status line below them."""

import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from opscenter_connector.happenings import Happening
from opscenter_connector.plain import clean
from opscenter_connector.policing.prompt import Prompt
from opscenter_connector.standing import Standing
from opscenter_connector.telling import Entry

STYLE = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
MARK_STYLE = {"✔": "green", "●": "green", "▶": "cyan", "+": "green", "↑": "green"}
SEPARATOR = " · "


class Screen:
    """Everything that comes from servers or the gateway is shown as text, never as markup."""

    def __init__(self, console: Console, host: str, prompt: Prompt | None = None) -> None:
        self._console = console
        self._prompt = prompt
        self._standing = Standing(host=clean(host))
        self._drawn = self._now()
        self._live = Live(
            Group(*self._drawn), console=console, auto_refresh=False, transient=True, screen=False
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
        """Draw the last lines anew if they say something else; somebody may look through ssh."""
        now = self._now()
        if now != self._drawn:
            self._drawn = now
            self._live.update(Group(*now), refresh=True)

    def close(self) -> None:
        """Take the status line away and leave the lines."""
        self._live.stop()

    def _now(self) -> list[Text]:
        """What a person is asked, if they are, and the status line."""
        now_s, width = time.monotonic(), self._console.width
        said = status(self._standing, width, now_s=now_s)
        if self._prompt is None:
            return [said]
        return [*self._prompt.rows(width, self._console.height - 1, now_s=now_s), said]


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
    """The status line: said at length if that fits on one line of `width`, else shortly."""
    sign = Text("● " if standing.is_connected else "○ ", _colour(standing))
    # One column stays free: a terminal may break the line when the last one is written.
    room = width - 1 - sign.cell_len
    for short in range(3):
        parts = standing.parts(now_s=now_s, short=short)
        if cell_len(SEPARATOR.join(text for text, _ in parts)) <= room:
            break
    texts = _fitting(parts, room)
    longest = standing.longest(now_s=now_s)
    if longest and cell_len(SEPARATOR.join([*texts, longest])) <= room:
        texts.append(longest)
    whole = Text(no_wrap=True, overflow="ellipsis", end="")
    whole.append_text(sign)
    for number, text in enumerate(texts):
        if number:
            whole.append(SEPARATOR, "dim")
        whole.append(text, "" if number else "bold")
    whole.truncate(width - 1, overflow="ellipsis")
    return whole


def _fitting(parts: Sequence[tuple[str, int]], room: int) -> list[str]:
    """The parts without those of the highest ranks that have no room."""
    kept = list(parts)
    while len(kept) > 1 and cell_len(SEPARATOR.join(text for text, _ in kept)) > room:
        kept.remove(max(kept, key=lambda part: part[1]))
    return [text for text, _ in kept]


def _colour(standing: Standing) -> str:
    if not standing.is_connected:
        return "red"
    return "yellow" if standing.down or standing.stopping else "green"
