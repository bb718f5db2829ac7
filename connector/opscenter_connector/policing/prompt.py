"""Asks a person about one call after the other. Pure: keys and the clock go in, rows come out.

A yes counts only for what stands on the screen, after all of it has been there, and not in the
first moment: the key may have been meant for what stood there before.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from opscenter_connector.policing.questions import Question
from opscenter_connector.policing.shown import Sheet
from opscenter_connector.wording import counted

LOOK_S = 0.7  # less than this nobody has read anything
AROUND = 3  # rows: a line above, the keys below, and one that stays free
MIN_ROWS = 1

FORWARD = frozenset({" ", "\x1b[6~", "\x1b[B", "\x1b[C", "\r", "\n"})
BACK = frozenset({"b", "\x7f", "\x1b[5~", "\x1b[A", "\x1b[D"})
YES, NO = frozenset("yY"), frozenset("nN")


@dataclass(slots=True)
class _Shown:
    question: Question
    since_s: float
    fits: tuple[int, int]  # columns, and rows of it on a page
    page: int = 0
    all_seen: bool = False


class Prompt:
    """Those that wait, and how far the first has been read."""

    def __init__(self, decided: Callable[[Question, bool], None]) -> None:
        self._decided = decided
        self._waiting: dict[str, Question] = {}
        self._shown: _Shown | None = None
        self._sheet: tuple[Question, int, Sheet] | None = None
        self._pages = 1

    @property
    def is_open(self) -> bool:
        return bool(self._waiting)

    def ask(self, question: Question) -> None:
        """Behind those that wait; in the place of an older one about the same call."""
        if self._shown is not None and self._shown.question.id == question.id:
            self._shown = None  # it is another question now, and has not been read
        self._waiting[question.id] = question

    def settled(self, id_: str) -> None:
        """It is a question no more."""
        self._waiting.pop(id_, None)
        if self._shown is not None and self._shown.question.id == id_:
            self._shown = None

    def key(self, key: str, *, now_s: float) -> None:
        """One key, or the sequence that a terminal sends for it."""
        shown = self._shown
        if shown is None:
            return
        if key in FORWARD:
            shown.page = min(shown.page + 1, self._pages - 1)
        elif key in BACK:
            shown.page = max(shown.page - 1, 0)
        elif now_s - shown.since_s >= LOOK_S and (key in NO or (key in YES and shown.all_seen)):
            self.settled(shown.question.id)
            self._decided(shown.question, key in YES)

    def rows(self, width: int, height: int, *, now_s: float) -> list[Text]:
        """What to show in so many columns and rows; nothing if nothing is asked."""
        if not self._waiting:
            return []
        fit = max(height - AROUND, MIN_ROWS)
        if self._shown is None or self._shown.fits != (width, fit):  # other pages: read them anew
            first = next(iter(self._waiting.values()))
            since_s = now_s if self._shown is None else self._shown.since_s
            self._shown = _Shown(first, since_s, (width, fit))
        shown = self._shown
        sheet = self._sheet_of(shown.question, width)
        self._pages = math.ceil(sheet.count / fit)
        shown.all_seen = shown.all_seen or shown.page == self._pages - 1
        top = shown.page * fit
        page = f"(page {shown.page + 1} of {self._pages}) " if self._pages > 1 else ""
        said = f"── May this run once? #{shown.question.id[-4:]} {page}"
        title = Text(said, "bold magenta", no_wrap=True)
        title.append("─" * max(width - len(title.plain) - 1, 0))
        return [title, *sheet.rows(top, top + fit), self._keys(shown)]

    def _sheet_of(self, question: Question, width: int) -> Sheet:
        """Kept while it is shown: one of a megabyte takes seconds."""
        kept = self._sheet
        if kept is None or kept[0] is not question or kept[1] != width:
            kept = self._sheet = question, width, Sheet(question, width - 1)
        return kept[2]

    def _keys(self, shown: _Shown) -> Text:
        if shown.all_seen:
            parts = ["y runs it once", "n refuses it"]
            parts += ["space, b: pages"] if self._pages > 1 else []
        else:
            parts = ["space shows the rest, then y can be said", "n refuses it"]
        if len(self._waiting) > 1:
            parts.append(f"{counted(len(self._waiting) - 1, 'question')} more")
        return Text(" · ".join(parts), "bold magenta", no_wrap=True, overflow="ellipsis")
