"""The exact call as a person has to see it: all of it, and nothing in it that hides something.

What a terminal would obey, what turns or joins letters and what cannot be seen at all stands there
as `«U+202E»`, in another colour, for such a text may also be written out in full.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from opscenter_connector.policing.questions import Question

HIDDEN, FOREIGN, NAME, WHY, QUIET = "bold white on red", "yellow", "bold", "yellow", "dim"
MARGIN = "  "
MIN_WIDTH = 20  # cells; a narrower terminal breaks lines by itself
MAX_SPACES = 40  # of more in a row only the number is shown: they push what follows out of sight

Piece = tuple[str, str]  # text and style
Row = list[Piece]

# Letters and a sign that are drawn as nothing, though their categories do not say so.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")

_RUNS = re.compile(r"([ -~]+)|(.)", re.DOTALL)
_SPACES = re.compile(rf"( {{{MAX_SPACES},}})")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


class Sheet:
    """A question in rows that fit into `width` cells."""

    def __init__(self, question: Question, width: int) -> None:
        self._room = max(width, MIN_WIDTH)
        self._hidden = 0
        self._rows: list[Row] = []
        for key, value in question.arguments.items():
            self._argument(key, value)
        arguments, self._rows = self._rows, []
        self._add(f"{question.server}.{question.tool}", NAME)
        self._add(question.reason, WHY)
        for name, fact in question.facts:
            self._add(f"{name}: {fact}", QUIET)
        if self._hidden:
            told = f"{self._hidden} signs in it cannot be seen: «…» stands for each"
            self._rows += self._wrapped([(told, HIDDEN)], "")
        self._rows += arguments

    @property
    def count(self) -> int:
        return len(self._rows)

    def rows(self, first: int, after: int) -> list[Text]:
        return [_text(row) for row in self._rows[first:after]]

    def _argument(self, key: str, value: Any) -> None:
        if isinstance(value, str) and value and "\n" not in value:
            pieces = [*self._pieces(f"{key}: ", NAME), *self._pieces(value, "")]
            self._rows += self._wrapped(pieces, "")
            return
        self._add(f"{key}:", NAME)
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        if not said:
            self._rows.append([(MARGIN, ""), ("(empty)", QUIET)])
        for line in _LINES.findall(said):
            self._add(line, "", MARGIN)

    def _add(self, text: str, style: str, margin: str = "") -> None:
        self._rows += self._wrapped(self._pieces(text, style), margin)

    def _pieces(self, text: str, style: str) -> Iterator[Piece]:
        """Every character to be seen; those that would not be, by their numbers."""
        for plain, odd in _RUNS.findall(text):
            if odd:
                sign, own = _sign(odd)
                self._hidden += own == HIDDEN
                yield sign, own
                continue
            for part in _SPACES.split(plain):
                if len(part) >= MAX_SPACES and not part.strip(" "):
                    self._hidden += 1
                    yield f"«{len(part)} spaces»", HIDDEN
                else:
                    yield part, style

    def _wrapped(self, pieces: Any, margin: str) -> Iterator[Row]:
        """Rows of at most `room` cells: broken, never cut."""
        row: Row = [(margin, "")]
        left = self._room - len(margin)
        for text, style in pieces:
            rest = text
            while rest:
                taken = rest[:left] if rest.isascii() else _fitting(rest, left)
                if not taken:
                    yield row
                    row, left = [(margin, "")], self._room - len(margin)
                    continue
                row.append((taken, style))
                left -= cell_len(taken)
                rest = rest[len(taken) :]
        yield row


def _fitting(text: str, room: int) -> str:
    cells = 0
    for at, character in enumerate(text):
        cells += cell_len(character)
        if cells > room:
            return text[:at]
    return text


@lru_cache(maxsize=4096)
def _sign(character: str) -> Piece:
    if character == "\n":
        return "⏎", QUIET
    if is_hidden(character):
        return f"«U+{ord(character):04X}»", HIDDEN
    return character, FOREIGN


def is_hidden(character: str) -> bool:
    """Whether it does something else than being seen, or nothing at all."""
    # C*: controls, formats (also the bidirectional ones), surrogates, private and unassigned ones.
    # Z*: spaces that are none, and separators. M*: what joins the letter before it.
    odd = unicodedata.category(character)[0] in "CZM" or character in BLANK
    return odd or cell_len(character) < 1


def _text(row: Row) -> Text:
    return Text.assemble(*row, no_wrap=True)
