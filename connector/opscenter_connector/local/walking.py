"""Walks through a folder and all below it, by descriptors: no link is followed, no race helps."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

from opscenter_connector.local import beneath, regular
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.roots import Spot

SEARCH_S = 10.0  # as the earlier connector's; what takes longer is asked for in parts
MAX_FOLDER_ENTRIES = 100_000  # of one folder, held in memory to be put in order

# What tools have put there and nobody has written. Searched when it is named.
LEFT_OUT = frozenset(
    {
        *(".git", ".hg", ".svn", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".venv"),
        *("__pycache__", "node_modules"),
    }
)

Parts = tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Walk:
    """A walk that is under way, and what it has passed by."""

    errand: Errand
    folder: int
    named: frozenset[str] = frozenset()  # of LEFT_OUT, but to be entered
    left_out: int = 0
    unreadable: int = 0
    cut: bool = False  # the time was up, or a folder too full

    def entries(self) -> "Iterator[tuple[Parts, os.DirEntry[str]]]":
        """Everything below, in order, each with the names that lead there."""
        waiting: list[Parts] = [()]
        while waiting:
            parts = waiting.pop()
            below: list[Parts] = []
            for entry in self._listed(parts):
                found = (*parts, entry.name)
                yield found, entry
                if self.cut:
                    return
                if entry.is_dir(follow_symlinks=False) and self._enters(entry.name):
                    below.append(found)
            waiting += reversed(below)

    def opened(self, parts: Parts) -> BinaryIO | None:
        """The file, if it still is there, is no link, and may be read."""
        try:
            return os.fdopen(beneath.opened(self.folder, parts, os.O_RDONLY), "rb")
        except OSError:
            self.unreadable += 1
            return None

    def _enters(self, name: str) -> bool:
        if name not in LEFT_OUT or name in self.named:
            return True
        self.left_out += 1
        return False

    def _listed(self, parts: Parts) -> "Iterator[os.DirEntry[str]]":
        if self.errand.is_over:
            self.cut = True
            return
        try:
            descriptor = beneath.opened(self.folder, parts, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            self.unreadable += 1
            return
        try:
            with os.scandir(descriptor) as found:
                entries = sorted(_some(found), key=lambda entry: entry.name)
                for entry in entries:
                    if self.errand.is_over:
                        self.cut = True
                        return
                    yield entry
                self.cut = self.cut or len(entries) == MAX_FOLDER_ENTRIES
        finally:
            os.close(descriptor)

    def notes(self) -> list[str]:
        """What a reader of the result has to know of it."""
        said = []
        if self.cut:
            said.append("not everything was looked at: name a folder further down in path")
        if self.left_out:
            said.append(
                f"{self.left_out:,} folders like node_modules or .git were left out: name one in "
                "path to look into it"
            )
        if self.unreadable:
            said.append(f"{self.unreadable:,} could not be read")
        return said


def _some(found: "Iterator[os.DirEntry[str]]") -> "Iterator[os.DirEntry[str]]":
    return itertools.islice(found, MAX_FOLDER_ENTRIES)


@contextmanager
def walk(errand: Errand, spot: Spot, named: frozenset[str] = frozenset()) -> Iterator[Walk]:
    """A walk through the folder at `spot`, for a bounded time. Raises ToolError."""
    bounded = replace(errand, until_s=min(errand.until_s, time.monotonic() + SEARCH_S))
    with regular.folder(spot) as descriptor:
        yield Walk(errand=bounded, folder=descriptor, named=named)
