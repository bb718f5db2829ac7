"""While somebody swaps files for links as fast as can be, no tool reads or writes outside."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector.local import beneath
from opscenter_connector.local.builtin import TOOLS
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError
from tests import allowed
from tests.allowed import SECRET, WITHIN_S, Tools

root, outside, tools = allowed.root, allowed.outside, allowed.tools

INSIDE = "bread"
SHORT_S, LONG_S = 0.3, 60.0
ASKED: dict[str, list[dict[str, Any]]] = {
    "read_file": [{"path": "folder/file"}, {"path": "file"}],
    "list_directory": [{"path": "folder"}],
    "glob": [{"pattern": "**"}, {"pattern": "**", "path": "folder"}],
    "grep": [
        {"pattern": "."},
        {"pattern": ".", "path": "folder"},
        {"pattern": ".", "path": "file"},
    ],
    "write_file": [
        {"path": "folder/new", "content": "x"},
        {"path": "folder/file", "content": INSIDE},
        {"path": "file", "content": INSIDE},
        {"path": "folder/a/b/c", "content": "x"},
    ],
    "edit_file": [
        {"path": path, "old_string": "e", "new_string": "e ", "replace_all": True}
        for path in ("folder/file", "file")
    ],
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps names at once")


@dataclass
class Score:
    """What came of so many tries."""

    done: int = 0
    refused: int = 0


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """A folder and a file inside change places with links to those outside, again and again."""
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_text(INSIDE)
    (folder / "file").write_text(INSIDE)
    links = folder.parent / "links"
    links.mkdir()
    (links / "folder").symlink_to(outside)
    (links / "file").symlink_to(outside / "file")
    (links.parent / "go-on").touch()
    pairs = [f"{folder / name}={links / name}" for name in ("folder", "file")]
    swapper = Path(__file__).with_name("swapper.py")
    with subprocess.Popen(
        [sys.executable, swapper, *pairs], cwd=links.parent, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
            assert process.poll() is None, "nobody was swapping any more"
        finally:
            process.kill()


def hammer(tools: Tools, name: str, for_s: float) -> Score:
    """Call the tool without a pause, as nobody could over the tunnel."""
    run = next(tool.run for tool in TOOLS if tool.name == name)
    assert run is not None
    score, until_s, tries = Score(), time.monotonic() + for_s, 0
    # On a busy machine until both have been met: what is inside, and what is not.
    while (now_s := time.monotonic()) < until_s or not (score.done and score.refused):
        if now_s > until_s + WITHIN_S:
            break
        asked = ASKED[name][tries % len(ASKED[name])]
        errand = Errand(roots=tools.builtin.roots, until_s=time.monotonic() + WITHIN_S)
        tries += 1
        try:
            result = run(errand, asked)
        except (ToolError, OSError) as error:
            assert SECRET not in str(error)
            score.refused += 1
        else:
            assert SECRET not in str(result)
            assert "only-outside" not in str(result)
            score.done += 1
    return score


@pytest.mark.parametrize("for_s", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.real)])
@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("way", ["openat2", "step by step"])
def test_no_race_is_lost(
    tools: Tools,
    outside: Path,
    name: str,
    way: str,
    for_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "step by step":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    for file in ("file", "only-outside"):
        (outside / file).write_text(SECRET)
    with swapping(tools.root, outside):
        score = hammer(tools, name, for_s)
    print(name, way, score)  # noqa: T201  (figures for whoever asks with -s)
    assert score.done
    assert score.refused
    assert {path.name for path in outside.iterdir()} == {"secret", "file", "only-outside"}
    assert all(path.read_text() == SECRET for path in outside.iterdir())


def test_who_looks_first_and_then_opens_loses_it(
    tools: Tools, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else this race would prove nothing."""

    def careless(folder: int, parts: Sequence[str], flags: int, **_: object) -> int:
        path = tools.root.joinpath(*parts)
        if not path.resolve().is_relative_to(tools.root):
            raise beneath.LeftError
        return os.open(path, flags)

    monkeypatch.setattr(beneath, "opened", careless)
    (outside / "file").write_text(SECRET)
    with swapping(tools.root, outside), pytest.raises(AssertionError):
        hammer(tools, "read_file", WITHIN_S)
