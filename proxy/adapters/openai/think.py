"""Text that arrives cut anywhere: what may be said of it now, and what must wait for more."""

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

# More and longer ones than any server takes; the rest is left to the server.
MAX_STOPS = 16
MAX_STOP_CHARS = 256

MAX_LEAD_CHARS = 64  # of blank space before a first tag; models write a line end or two

OPENING, CLOSING = "<think>", "</think>"


def overlap(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `marks`."""
    longest = max(map(len, marks), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0


class Halves:
    """Joins the halves of a UTF-16 pair that JSON escapes have spread over two pieces."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def joined(self, piece: str) -> str:
        """The piece in what UTF-8 can say; half of a pair at its end waits for the next one."""
        if not piece or (not self._half and piece.isascii()):
            return piece
        piece, self._half = self._half + piece, ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def rest(self) -> str:
        """What a half that stayed alone is shown as."""
        half, self._half = self._half, ""
        return "\N{REPLACEMENT CHARACTER}" if half else ""


class Stops:
    """Ends the text at a stop sequence, for a server that takes fewer of them or shows them."""

    __slots__ = ("_held", "_pattern", "_sequences", "matched")

    def __init__(self, sequences: Sequence[str]) -> None:
        usable = [text for text in sequences if 0 < len(text) <= MAX_STOP_CHARS]
        self._sequences = usable[:MAX_STOPS]
        self._pattern = re.compile("|".join(map(re.escape, self._sequences)))
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """What may be said now: nothing from a stop sequence on, nor what may begin one."""
        if not self._sequences:
            return text
        if self.matched is not None:
            return ""
        text = self._held + text
        found = self._pattern.search(text)
        if found:
            self._held, self.matched = "", found[0]
            return text[: found.start()]
        end = len(text) - overlap(text, self._sequences)
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """What waited for more, when no more comes."""
        held, self._held = self._held, ""
        return held


class Piece(NamedTuple):
    """Some text, and whether the model only thought it."""

    text: str
    is_thought: bool


class _Place(Enum):
    BEFORE = auto()  # nothing was said but blank space
    INSIDE = auto()
    AFTER = auto()  # the blank space that follows a closing tag belongs to the tag
    TEXT = auto()


class Think:
    """Tells thinking from text where a server leaves `<think>` at the very beginning in place.

    A tag anywhere else is text: a model may well talk about it.
    """

    __slots__ = ("_held", "_place")

    def __init__(self) -> None:
        self._place = _Place.BEFORE
        self._held = ""

    def skip(self) -> None:
        """The server tells the two apart itself: from here on all is text."""
        self._place = _Place.TEXT

    def feed(self, text: str) -> list[Piece]:
        """What may be said now."""
        if self._place is _Place.TEXT:
            return [Piece(text, False)]
        text, self._held = self._held + text, ""
        match self._place:
            case _Place.BEFORE:
                return self._begin(text)
            case _Place.INSIDE:
                return self._think(text)
            case _:
                return self._say(text)

    def rest(self) -> list[Piece]:
        """What waited for more, when something else comes."""
        held, was_inside = self._held, self._place is _Place.INSIDE
        self._held, self._place = "", _Place.TEXT
        return [Piece(held, was_inside)] if held else []

    def _begin(self, text: str) -> list[Piece]:
        said = text.lstrip()
        if said.startswith(OPENING):
            self._place = _Place.INSIDE
            return self._think(said.removeprefix(OPENING))
        if OPENING.startswith(said) and len(text) - len(said) <= MAX_LEAD_CHARS:
            self._held = text
            return []
        self._place = _Place.TEXT
        return [Piece(text, False)]

    def _think(self, text: str) -> list[Piece]:
        thought, closing, text = text.partition(CLOSING)
        if closing:
            self._place = _Place.AFTER
            return [Piece(thought, True), *self._say(text)]
        end = len(thought) - overlap(thought, [CLOSING])
        self._held = thought[end:]
        return [Piece(thought[:end], True)]

    def _say(self, text: str) -> list[Piece]:
        text = text.lstrip()
        if not text:
            return []
        self._place = _Place.TEXT
        return [Piece(text, False)]
