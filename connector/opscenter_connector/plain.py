"""Text from elsewhere made fit for a terminal: one line, no control characters, bounded."""

import re
import unicodedata

# What a program writes to colour its text. Without its first character it would be litter.
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")

MOST = 300  # a line that somebody reads; servers and gateways may say anything


def clean(text: str, most: int = MOST) -> str:
    """`text` on one line, without what would move a cursor, change colours or reverse letters."""
    # A little more than is shown, so that a text of megabytes costs nothing.
    begun = _SEQUENCE.sub("", text[: most * 2])
    shown = "".join(_fit(character) for character in begun)
    line = " ".join(shown.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _fit(character: str) -> str:
    if character.isspace():
        return " "
    # C*: control, format (also the bidirectional ones), surrogates, private and unassigned.
    return "" if unicodedata.category(character).startswith("C") else character
