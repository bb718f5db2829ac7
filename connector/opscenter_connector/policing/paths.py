"""Whether the paths in a call's arguments lie where a rule says. By their text alone.

This is how a person's wish is read, not what keeps a tool in: links and races are for the boundary.
"""

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opscenter_connector.sandbox import protected as names

# Arguments that MCP servers give such names to hold paths, whatever they look like.
USUAL = frozenset(
    """
    path paths file files file_path filepath filename directory dir folder cwd root source
    destination src dst target uri
    """.split()  # noqa: SIM905 - shorter than a list
)
OWN = "connector.toml"
MAX_DEPTH = 20  # of arguments; deeper ones are taken for paths elsewhere


def outside(
    arguments: Mapping[str, Any],
    folders: Sequence[str],
    named: Sequence[str],
    base: Sequence[str],
    *,
    may_lack: bool = False,
) -> str:
    """The first path that is not beneath one of `folders`; or, unless it may, that there is none.

    `named` are the arguments that hold paths; without them all that look like paths count. `base`
    is where relative paths begin, if that is known.
    """
    found = list(_named(arguments, named) if named else _looking_like(arguments))
    if not found and not may_lack:
        return "no path is named"
    for path in found:
        if not _beneath(path, folders, base):
            return ascii(path[:200])
    return ""


def _named(arguments: Mapping[str, Any], named: Sequence[str]) -> Iterator[str]:
    for name in named:
        yield from _texts(arguments.get(name), 0)


def _looking_like(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        usual = name.casefold() in USUAL
        yield from (text for text in _texts(value, 0) if usual or _looks_like_one(text))


def _texts(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield "/"  # nobody hides a path by depth
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner, depth + 1)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner, depth + 1)


def _looks_like_one(text: str) -> bool:
    return "\n" not in text and (
        text.startswith(("/", "~", "./", "../", "file:")) or text == ".." or "/../" in text
    )


def _beneath(path: str, folders: Sequence[str], base: Sequence[str]) -> bool:
    if "\0" in path or path.startswith("~"):
        return False
    if not path.startswith("/"):
        if not base:
            return False  # nobody here knows where it begins
        path = posixpath.join(base[0], path)
    path = posixpath.normpath("/" + path.lstrip("/"))
    return any(
        path == folder or path.startswith(folder.rstrip("/") + "/")
        for folder in map(posixpath.normpath, folders)
    )


def protected(path: Any) -> str:
    """The part of `path` that other programs obey, if one is there."""
    if not isinstance(path, str):
        return ""
    for part in posixpath.normpath(path).split("/"):
        if names.anywhere(_plain(part)) or _plain(part) in names.READ_ONLY_AT_TOP:
            return ascii(part)[1:-1]
    return ""


def is_own(path: Any) -> bool:
    """Whether it is what a connector reads its policy from, which the tools never write."""
    return isinstance(path, str) and _plain(posixpath.basename(posixpath.normpath(path))) == OWN


def _plain(name: str) -> str:
    """As file systems may read it that know no case or leave out what cannot be seen."""
    seen = "".join(
        c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf"
    )
    return seen.casefold().rstrip(". ")
