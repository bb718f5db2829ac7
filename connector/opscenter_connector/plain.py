"""Text from elsewhere made fit for a terminal: one line, no control characters, bounded."""

import unicodedata

MOST = 300  # a line that somebody reads; servers and gateways may say anything


def clean(text: str, most: int = MOST) -> str:
    """`text` on one line, without what would move a cursor, change colours or reverse letters."""
    # A little more than is shown, so that a text of megabytes costs nothing.
    shown = "".join(_fit(character) for character in text[: most * 2])
    line = " ".join(shown.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _fit(character: str) -> str:
    if character.isspace():
        return " "
    # C*: control, format (also the bidirectional ones), surrogates, private and unassigned.
    return "" if unicodedata.category(character).startswith("C") else character
