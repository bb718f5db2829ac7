"""File names as a model may read them: a name is any bytes, and some are made to deceive."""

import json
import os
import unicodedata

NOT_UTF8 = "names with \\x in them are not UTF-8 and can only be reached with bash"


def said(name: str) -> str:
    """The name as data: JSON carries every character, but not bytes that are none."""
    return os.fsencode(name).decode(errors="backslashreplace")


def is_utf8(name: str) -> bool:
    return "\ufffd" not in os.fsencode(name).decode(errors="replace")


def plain(name: str) -> str:
    """The name in a list of lines: in quotes, as JSON, where it would not be what it seems."""
    told = said(name)
    if told.strip() == told and all(_is_plain(character) for character in told):
        return told
    return json.dumps(told)


def _is_plain(character: str) -> bool:
    # Control, format (what is invisible, or turns letters around), surrogate, separators of lines.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
