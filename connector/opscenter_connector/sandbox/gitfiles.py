"""Git directories that lie elsewhere: those of work trees, and of hooks by another name."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.sandbox import protected

MOST_BYTES = 64 * 1024  # of a file that names a directory, or of a repository's settings
# Settings whose value is a program or other settings; the rest of the line may be arguments.
_LEADS = re.compile(
    r"^\s*(?:hookspath|path|fsmonitor|external|clean|smudge|process|textconv|driver|editor|pager"
    r"|sshcommand|helper|program|cmd|command|attributesfile)\s*=\s*(.+?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """What a linked work tree needs of its repository."""

    own: Path  # its part of it: HEAD and index; writable
    common: Path  # objects, refs, settings


def work_tree(link: Path) -> WorkTree | None:
    """Whose `.git` is a file. None unless the repository says the same of this work tree.

    A command could write such a file and name any folder by it; it cannot write that folder.
    """
    named = _said(link, "gitdir:")
    if named is None:
        return None
    own = (link.parent / named).resolve()
    common = own.parent.parent
    back = _said(own / "gitdir")
    if back is None or (own / back).resolve() != link.resolve():
        return None
    # Where git itself puts it, and nowhere else: what it lies in is what it may lead to.
    if own.parent.name != "worktrees" or _said(own / "commondir") != "../..":
        return None
    if not all((common / part).exists() for part in protected.GIT_PARTS):
        return None
    return WorkTree(own=own, common=common)


def led_to(settings: Path, top: Path) -> Iterator[Path]:
    """What in the work tree a repository's settings have git read or run, hooks first of all."""
    try:
        text = settings.read_text(errors="replace")[:MOST_BYTES]
    except OSError:
        return
    for value in _LEADS.findall(text):
        named = value.strip('"').lstrip("!").split(" ")[0]
        if "/" in named or (top / named).exists() or (settings.parent / named).exists():
            yield top / os.path.expanduser(named)
            yield settings.parent / os.path.expanduser(named)


def _said(file: Path, label: str = "") -> str | None:
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return None
        text = file.read_text().strip()
    except (OSError, ValueError):
        return None
    return text.removeprefix(label).strip() if text.startswith(label) else None
