"""Text as it is, with what nobody would see made visible (pure)."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Nothing of these, or of what they do to the letters beside them, can be seen.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_NEWLINE, _TAB = "\n", "\t"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the text, or a mark that stands for a character of it."""

    text: str
    is_mark: bool = False


def parts(text: str) -> Iterator[Part]:
    """All of the text. After the mark of a line's end the line ends too."""
    plain: list[str] = []
    for character in text:
        if (mark := _mark_of(character)) is None:
            plain.append(character)
            continue
        if plain:
            yield Part("".join(plain))
        plain = [character] if character in {_NEWLINE, _TAB} else []
        yield Part(mark, is_mark=True)
    if plain:
        yield Part("".join(plain))


def in_one_line(text: str) -> str:
    """The same for where no marks can be told from text: in a terminal, a log or a column."""
    return "".join(_escaped(character) for character in text)


def _mark_of(character: str) -> str | None:
    if character == _NEWLINE:
        return "⏎"
    if character == _TAB:
        return "⇥"
    return None if _is_seen(character) else f"U+{ord(character):04X}"


def _is_seen(character: str) -> bool:
    if character == " ":
        return True
    kind = unicodedata.category(character)
    return kind not in _UNSEEN and kind != "Zs"


def _escaped(character: str) -> str:
    if character == _NEWLINE:
        return "\\n"
    if character == "\\":
        return "\\\\"
    return character if _is_seen(character) else f"\\u{{{ord(character):x}}}"
