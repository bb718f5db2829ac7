"""Folders that git takes for a repository, whatever their name: what is written there git obeys."""

import contextlib
import os

from opscenter_connector.local import regular
from opscenter_connector.local.mistakes import ToolError
from opscenter_connector.local.roots import Spot
from opscenter_connector.sandbox.protected import GIT_HALF, GIT_PARTS, is_git


def refuse(spot: Spot) -> None:
    """Raises ToolError if a file at `spot` would lie in one, or make one.

    One that is called .git is seen by whoever reads the path, so policy has decided about it.
    """
    if any(is_git(part) for part in spot.parts):
        return
    for depth, part in enumerate(spot.parts):
        folder = Spot(root=spot.root, parts=spot.parts[:depth])
        known = {_known(part)}
        if any(_has(folder, parts - known) for parts in (GIT_PARTS, GIT_HALF)):
            raise ToolError(
                f"{folder.shown} is, or would be, a git repository's own folder, where git obeys "
                "what it finds. Use git with bash, or write somewhere else"
            )


def _known(part: str) -> str:
    """The part of a repository that this would be, on a disk that knows no case."""
    return next((one for one in GIT_PARTS | GIT_HALF if one.casefold() == part.casefold()), "")


def _has(folder: Spot, names: frozenset[str]) -> bool:
    """Whether all of these are in it. One that is not there has nothing in it."""
    with contextlib.suppress(OSError, ToolError), regular.folder(folder, links=False) as descriptor:
        for name in names:
            os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        return True
    return False
