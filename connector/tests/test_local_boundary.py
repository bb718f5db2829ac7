"""No path, link or race leads a file tool out of the allowed folder."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector.local import beneath
from tests import allowed
from tests.allowed import SECRET, Tools

root, outside, tools = allowed.root, allowed.outside, allowed.tools

# How each tool is asked for one path; what each of them does to it.
ON_A_FILE: dict[str, dict[str, Any]] = {
    "read_file": {},
    "write_file": {"content": "mine"},
    "edit_file": {"old_string": "the", "new_string": "mine"},
    "grep": {"pattern": "."},
}
ON_A_FOLDER: dict[str, dict[str, Any]] = {
    "list_directory": {},
    "glob": {"pattern": "**"},
    "grep": {"pattern": "."},
}
every_file_tool = pytest.mark.parametrize("tool", ON_A_FILE)


@pytest.fixture(params=["openat2", "step by step"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to open: by the kernel, and where it cannot."""
    if request.param == "step by step":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    elif not beneath.has_openat2():
        pytest.skip("this kernel has no openat2")
    yield request.param


@every_file_tool
@pytest.mark.parametrize(
    "path",
    [
        *("../ws-evil/secret", "a/../../ws-evil/secret", "....//ws-evil/secret", "..\\secret"),
        *("%2e%2e/ws-evil/secret", "..%c0%afws-evil/secret", "...", ".. ", "..", "a/..", "a/../."),
        *("", "\0", "a\0b", "x" * 4097, "/" * 5000, "\ud800", "a/\udcff"),
        *("/etc/passwd", "//etc/passwd", "/etc//passwd", "///etc/./passwd", "/./etc/passwd"),
        *("~", "~/x", "~root/x", "file:///etc/passwd", "/proc/self/cwd/../x", "/dev/fd/3"),
        *("/proc/self/root/etc/passwd", "\uff0e\uff0e\uff0f\uff0e\uff0e\uff0fetc/passwd"),
        *(
            "\u202e../etc/passwd",
            "\u200b../x",
            "C:\\Windows\\win.ini",
            "\\\\host\\share",
            "-",
            "--help",
        ),
    ],
)
async def test_it_is_led_astray_by_no_path(
    tools: Tools, outside: Path, tmp_path: Path, tool: str, path: str
) -> None:
    before = snapshot(tmp_path)
    result = await tools(tool, path=path, **ON_A_FILE[tool])
    assert SECRET not in str(result)
    assert "root:" not in str(result)
    created = {name for name, _ in snapshot(tmp_path) ^ before}
    assert all(name.is_relative_to(tools.root) for name in created)
    if tool != "write_file":
        assert result["isError"] is True
        assert not created


def snapshot(folder: Path) -> set[tuple[Path, bytes]]:
    return {(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@every_file_tool
async def test_a_name_that_begins_alike_is_another_folder(
    tools: Tools, outside: Path, tool: str
) -> None:
    said = await tools.refusal(tool, path=str(outside / "secret"), **ON_A_FILE[tool])
    assert f"outside the allowed folders. They are: {tools.root}" in said
    assert (outside / "secret").read_text() == SECRET


@every_file_tool
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("link", ["file", "folder", "relative", "chain"])
async def test_a_link_leads_nowhere_outside(
    tools: Tools, outside: Path, tool: str, link: str, absolute: bool
) -> None:
    (tools.root / "file").symlink_to(outside / "secret")
    (tools.root / "folder").symlink_to(outside)
    (tools.root / "relative").symlink_to("../ws-evil/secret")
    (tools.root / "chain").symlink_to("file")
    path = f"{link}/secret" if link == "folder" else link
    path = str(tools.root / path) if absolute else path
    said = await tools.refusal(tool, path=path, **ON_A_FILE[tool])
    assert "link" in said or "leads out" in said
    assert (outside / "secret").read_text() == SECRET
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


@pytest.mark.parametrize("tool", ON_A_FOLDER)
async def test_a_link_to_a_folder_is_not_walked_into(
    tools: Tools, outside: Path, tool: str
) -> None:
    (tools.root / "out").symlink_to(outside)
    (tools.root / "loop").symlink_to(".")
    result = await tools(tool, **ON_A_FOLDER[tool])
    assert "secret" not in str(result["structuredContent"].get("matches", ""))
    assert SECRET not in str(result)
    assert "could not be read" not in str(result)  # nobody has tried
    assert await tools.refusal(tool, path="out", **ON_A_FOLDER[tool])


@pytest.mark.parametrize("parent", ["dangling", "dangling/a/b"])
async def test_it_does_not_write_or_make_folders_through_a_link(
    tools: Tools, outside: Path, parent: str
) -> None:
    (tools.root / "dangling").symlink_to(outside / "new")
    path = parent if parent == "dangling" else f"{parent}/c"
    assert "link" in await tools.refusal("write_file", path=path, content="x")
    assert not (outside / "new").exists()
    (outside / "new").mkdir()
    assert "link" in await tools.refusal("write_file", path="dangling/a/b", content="x")
    assert list((outside / "new").iterdir()) == []


async def test_a_link_that_a_command_made_is_not_followed_by_the_next_write(
    tools: Tools, outside: Path
) -> None:
    await tools.fields("write_file", path="build/out.txt", content="first")
    (tools.root / "build" / "out.txt").unlink()
    (tools.root / "build").rmdir()
    (tools.root / "build").symlink_to(outside)
    assert "link" in await tools.refusal("write_file", path="build/secret", content="x")
    assert (outside / "secret").read_text() == SECRET


async def test_links_that_stay_inside_are_read_through_where_the_kernel_sees_to_it(
    tools: Tools, way: str
) -> None:
    (tools.root / "v1").mkdir()
    (tools.root / "v1" / "a").write_text("bread")
    (tools.root / "current").symlink_to("v1")
    if way == "openat2":
        assert (await tools.fields("read_file", path="current/a"))["content"] == "bread"
    else:
        assert "link" in await tools.refusal("read_file", path="current/a")
    assert "link" in await tools.refusal("write_file", path="current/a", content="x")
    change = {"old_string": "bread", "new_string": "x"}
    assert "link" in await tools.refusal("edit_file", path="current/a", **change)


async def test_a_hard_link_is_read_and_never_written(tools: Tools, outside: Path) -> None:
    (tools.root / "linked").hardlink_to(outside / "secret")
    said = await tools.refusal("write_file", path="linked", content="x")
    assert "2 names (hard links)" in said
    change = {"old_string": "recipe", "new_string": "x"}
    assert "hard links" in await tools.refusal("edit_file", path="linked", **change)
    assert (outside / "secret").read_text() == SECRET
    assert (await tools.fields("read_file", path="linked"))["content"] == SECRET  # as caches are


@every_file_tool
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
async def test_only_regular_files_are_touched(
    tools: Tools, tool: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tools.root / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tools.root)  # a socket's name must be short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket")
    else:
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # zero: endless to who reads it
    if tool == "grep" and kind == "folder":
        return
    said = await tools.refusal(tool, path=kind, **ON_A_FILE[tool])
    assert "regular file" in said or "is a folder" in said or "is no folder" in said


@every_file_tool
async def test_a_root_that_is_swapped_is_used_no_more(
    tools: Tools, outside: Path, tool: str
) -> None:
    (tools.root / "secret").write_text("bread")
    tools.root.rename(tools.root.with_name("elsewhere"))
    tools.root.symlink_to(outside)
    for path in ("secret", str(tools.root / "secret")):
        said = await tools.refusal(tool, path=path, **ON_A_FILE[tool])
        assert "is not the one it was when the connector started" in said
    assert (outside / "secret").read_text() == SECRET


@every_file_tool
async def test_a_root_that_vanishes_is_missed(tools: Tools, tool: str) -> None:
    tools.root.rmdir()
    said = await tools.refusal(tool, path="secret", **ON_A_FILE[tool])
    assert "is not there any more" in said
    tools.root.mkdir()
    said = await tools.refusal(tool, path="secret", **ON_A_FILE[tool])
    assert "is not the one it was" in said


async def test_it_does_not_write_its_own_configuration(tools: Tools) -> None:
    for name in ("connector.toml", "CONNECTOR.toml", "a/Connector.Toml"):
        said = await tools.refusal("write_file", path=name, content="x")
        assert "own configuration" in said


async def test_it_writes_into_no_repository_that_its_path_does_not_name(tools: Tools) -> None:
    bare = tools.root / "a" / "bare"
    for name in ("objects", "refs", "hooks"):
        (bare / name).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    (bare / "config").write_text("[core]\n")
    for path in ("a/bare/hooks/post-checkout", "a/bare/config", "a/bare/x/y/z"):
        assert "git obeys" in await tools.refusal("write_file", path=path, content="x")
    change = {"old_string": "[core]", "new_string": "[core]\nfsmonitor = evil"}
    assert "git obeys" in await tools.refusal("edit_file", path="a/bare/config", **change)
    assert not (bare / "hooks" / "post-checkout").exists()
    await tools.fields("write_file", path="a/x", content="x")  # beside it
    await tools.fields("write_file", path=".git/x", content="x")  # policy has decided


@pytest.mark.parametrize("last", ["HEAD", "head", "objects/a", "refs/heads/b", "Refs/c"])
async def test_it_makes_no_repository_piece_by_piece(tools: Tools, last: str) -> None:
    for path in ("HEAD", "config", "objects/x", "refs/x"):
        if path.split("/")[0] != last.split("/")[0].casefold().replace("head", "HEAD"):
            await tools.fields("write_file", path=f"bare/{path}", content="x")
    assert "git obeys" in await tools.refusal("write_file", path=f"bare/{last}", content="x")


async def test_it_makes_no_repository_of_two_halves(tools: Tools) -> None:
    """One has HEAD, and says where the other is."""
    await tools.fields("write_file", path="a/half/HEAD", content="ref: refs/heads/main\n")
    said = await tools.refusal("write_file", path="a/half/commondir", content="../other\n")
    assert "git obeys" in said
    await tools.fields("write_file", path="b/half/commondir", content="../other\n")
    for path in ("b/half/HEAD", "b/half/head"):
        assert "git obeys" in await tools.refusal("write_file", path=path, content="x")
    (tools.root / "b" / "half" / "HEAD").write_text("ref: refs/heads/main\n")
    said = await tools.refusal("write_file", path="b/half/config.worktree", content="x")
    assert "git obeys" in said


async def test_the_nearest_of_two_folders_counts_and_relative_paths_begin_in_the_first(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    inner = second / "inner"
    for folder in (first, second, inner):
        folder.mkdir(parents=True)
    (tmp_path / "alias").symlink_to(second)
    tools = Tools(first, tmp_path / "alias", inner)
    try:
        for path in ("x", str(tmp_path / "alias" / "y"), str(second / "z"), str(inner / "i")):
            await tools.fields("write_file", path=path, content="x")
        assert await tools.refusal("read_file", path="y")
    finally:
        tools.builtin.roots.close()
    assert (first / "x").exists()
    assert {path.name for path in second.iterdir()} == {"inner", "y", "z"}
    assert (inner / "i").exists()
