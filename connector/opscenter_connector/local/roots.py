"""The allowed folders: each is held open from the start, and every path is found beneath one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from opscenter_connector.local import beneath
from opscenter_connector.local.mistakes import ToolError

MAX_PATH_BYTES = 4096  # the system's own bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One allowed folder. `said` is how the person wrote it, `path` where that really is."""

    path: Path
    said: Path
    descriptor: int
    identity: tuple[int, int]
    first: bool = False  # relative paths begin here

    def confirm(self) -> None:
        """The path must still lead to the folder that is held. Raises ToolError."""
        try:
            found = self.path.lstat()
        except OSError:
            raise ToolError(
                f"the allowed folder {self.path} is not there any more. Ask the person to bring "
                "it back and to restart the connector"
            ) from None
        if (found.st_dev, found.st_ino) != self.identity:
            raise ToolError(
                f"the allowed folder {self.path} is not the one it was when the connector "
                "started. Ask the person to look at it, and to restart the connector"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place beneath a root, by the names that lead there. It may be empty."""

    root: Root
    parts: tuple[str, ...]

    @property
    def shown(self) -> str:
        return str(self.root.path.joinpath(*self.parts))

    @property
    def named(self) -> str:
        """The shortest path by which the tools find it again."""
        if not self.root.first:
            return self.shown
        # A name that begins like a home would be refused.
        return "/".join(self.parts) if self.parts and self.parts[0] != "~" else self.shown

    @property
    def folder(self) -> "Spot":
        return Spot(root=self.root, parts=self.parts[:-1])

    def below(self, *parts: str) -> "Spot":
        return Spot(root=self.root, parts=(*self.parts, *parts))

    def opened(self, flags: int, *, links: bool = False) -> int:
        """A descriptor of what is there. Raises OSError."""
        return beneath.opened(self.root.descriptor, self.parts, flags, links=links)


class Roots:
    """All of them, in the order the person named them."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self.all = tuple(roots)

    @classmethod
    def opened(cls, folders: Sequence[Path]) -> "Roots":
        """Hold each of `folders` open. Raises OSError."""
        roots: list[Root] = []
        try:
            # Those before one that fails are there, too.
            roots.extend(_opened(said, first=not at) for at, said in enumerate(folders))
        except OSError:
            cls(roots).close()
            raise
        return cls(roots)

    def close(self) -> None:
        for root in self.all:
            os.close(root.descriptor)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(root.path for root in self.all)

    def find(self, said: str) -> Spot:
        """The place that `said` names. Raises ToolError.

        Relative paths begin in the first folder. `..` is refused rather than resolved: what a path
        means must be plain to whoever reads it in a policy or an approval.
        """
        parts = _parts(said)
        if not said.startswith("/"):
            return self._confirmed(Spot(root=self.all[0], parts=parts))
        inside = [
            (root, parts[len(name.parts) - 1 :])
            for root in self.all
            for name in {root.path, root.said}
            if parts[: len(name.parts) - 1] == name.parts[1:]
        ]
        if not inside:
            folders = ", ".join(map(str, self.paths))
            raise ToolError(f"{said} lies outside the allowed folders. They are: {folders}")
        root, rest = min(inside, key=lambda found: len(found[1]))  # the nearest one
        return self._confirmed(Spot(root=root, parts=rest))

    def _confirmed(self, spot: Spot) -> Spot:
        spot.root.confirm()
        return spot


def _opened(said: Path, *, first: bool) -> Root:
    path = said.resolve()
    descriptor = os.open(path, beneath.FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    return Root(
        path=path,
        said=said,
        descriptor=descriptor,
        identity=(found.st_dev, found.st_ino),
        first=first,
    )


def _parts(said: str) -> tuple[str, ...]:
    """The names in a path as a model wrote it. Raises ToolError."""
    if not said:
        raise ToolError("the path is empty. Write . for the first allowed folder")
    if "\0" in said:
        raise ToolError("the path has a NUL in it, which no file name has")
    try:
        size = len(said.encode())
    except UnicodeEncodeError:
        raise ToolError("the path is not Unicode. Look for the file with list_directory") from None
    if size > MAX_PATH_BYTES:
        raise ToolError(f"the path has {size} bytes; {MAX_PATH_BYTES} are the most there can be")
    if said == "~" or said.startswith("~/"):
        raise ToolError("~ is not expanded here. Write a path in an allowed folder without it")
    parts = tuple(part for part in PurePosixPath(said).parts if part.strip("/"))
    if ".." in parts:
        raise ToolError(f"{said} has .. in it. Write the path without")
    return parts
