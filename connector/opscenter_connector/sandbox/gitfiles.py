"""Git directories that lie elsewhere: those of work trees, and of hooks by another name."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.sandbox import protected

MOST_BYTES = 64 * 1024  # of a file that names a directory, or of a repository's settings
_HOOKS = re.compile(r"^\s*hookspath\s*=\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


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


def hooks(settings: Path, top: Path) -> Path | None:
    """The folder of hooks that a repository's settings name."""
    try:
        found = _HOOKS.search(settings.read_text(errors="replace")[:MOST_BYTES])
    except OSError:
        return None
    if found is None:
        return None
    path = Path(os.path.expanduser(found[1].strip('"')))
    return path if path.is_absolute() else top / path


def _said(file: Path, label: str = "") -> str | None:
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return None
        text = file.read_text().strip()
    except (OSError, ValueError):
        return None
    return text.removeprefix(label).strip() if text.startswith(label) else None
