"""The pure parts of the sandbox: outputs, mounts, and what a folder is seen to hold."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from opscenter_connector.local import commanding
from opscenter_connector.sandbox import Ended, Outcome, gitfiles, mounts, seatbelt, tree
from opscenter_connector.sandbox.output import Kept, clean
from opscenter_connector.sandbox.quarantine import Sweep
from opscenter_connector.sandbox.tree import Tree


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 100, 5000])
@pytest.mark.parametrize("cut", [1, 7, 64, 5000])
def test_it_keeps_both_ends_however_they_come(size: int, cut: int) -> None:
    written = bytes(random.Random(size).choices(b"abcdefgh\n", k=size))
    kept = Kept(64)
    for at in range(0, size, cut):
        kept.take(written[at : at + cut])
    if size <= 64:
        assert kept.text() == written.decode()
        assert kept.left_out == 0
    else:
        head, middle, tail = kept.text().partition(f"\n[… {size - 64} bytes left out …]\n")
        assert (head, tail) == (written[:32].decode(), written[-32:].decode())
        assert middle


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]52;c;ZXZpbA==\x07x", "x"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("\x9b31mred", "red"),
        ("a\r\nb\rc\r\r\nd", "a\nb\nc\nd"),
        ("a\x00\x07\x08b\tc\n", "ab\tc\n"),
        ("\x1bPq#0;2\x1b\\x\x7f\x85", "x"),
        ("ü 字 👩‍💻", "ü 字 👩‍💻"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_it_shows_no_steering_of_terminals(written: str, shown: str) -> None:
    assert clean(written) == shown


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="it needs what nobody can rename")
@pytest.mark.parametrize("gone", [False, True])
def test_it_says_what_could_not_be_moved_away(gone: bool, tmp_path: Path) -> None:
    sweep = Sweep(os.open(tmp_path if gone else "/sys", os.O_RDONLY), tmp_path / "away")
    assert sweep.away("kernel") == gone
    assert (sweep.found, sweep.left) == ([], [] if gone else ["kernel"])
    os.close(sweep.root)
    outcome = Outcome(
        stdout="", stderr="", returncode=0, ended=Ended.EXIT, planted=tuple(sweep.left)
    )
    told = commanding.told(outcome)["content"][-1]["text"]
    assert ("could not be moved: kernel" in told) != gone


def test_it_gathers_mounts_into_the_folders_that_hold_them() -> None:
    few = [f"a/b/{n}" for n in range(4)]
    assert mounts.gathered(few, 4) == few
    assert mounts.gathered([*few, "a/c/1"], 4) == ["a/b", "a/c"]
    assert mounts.gathered([f"{n}/x/y" for n in range(9)] + ["top"], 4) == [""]
    assert mounts.gathered([], 4) == []


def test_it_sees_names_wherever_and_in_whatever_letters(tmp_path: Path) -> None:
    for name in ("a/.VSCode/x", "a/b/c/.envrc", "n/.git/HEAD", "plain/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".husky").symlink_to("elsewhere")
    (tmp_path / "loop").symlink_to(".")
    seen = Tree(str(tmp_path))
    seen.look()
    assert seen.guarded.keys() == {"a/.VSCode", "a/b/c/.envrc", "n/.git", ".husky"}
    assert seen.guarded[".husky"].target == "elsewhere"


def test_it_sees_half_a_repository(tmp_path: Path) -> None:
    """Whose other half is where `commondir` says."""
    for name in ("half/HEAD", "half/config.worktree", "other/config", "x/commondir"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    seen = Tree(str(tmp_path))
    seen.look()
    assert seen.guarded.keys() == {"x/commondir"}
    (tmp_path / "half" / "commondir").write_text("")
    seen.look()
    assert seen.guarded.keys() == {"x/commondir", "half/commondir", "half/config.worktree"}


def test_it_sees_what_has_changed_and_another_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a folder's time was set back."""
    monkeypatch.setattr(tree, "FRESH_NS", 0)  # trust every time, to see that times are enough
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".envrc").write_text("one")
    seen = Tree(str(tmp_path))
    seen.look()
    before = seen.guarded
    (tmp_path / "a" / "new").write_text("two")
    (tmp_path / "a" / "new").replace(tmp_path / "a" / ".envrc")
    (tmp_path / "a" / ".npmrc").write_text("")
    os.utime(tmp_path / "a", ns=(0, 0))
    seen.look()
    assert seen.guarded.keys() == {"a/.envrc", "a/.npmrc"}
    assert seen.guarded["a/.envrc"] != before["a/.envrc"]


def test_it_refuses_a_folder_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FOLDERS", 5)
    for number in range(6):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(Exception, match="allow the folder of one project"):
        Tree(str(tmp_path)).look()


def test_a_link_has_all_its_names_inside_or_not(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "one").write_text("")
    (inside / "two").hardlink_to(inside / "one")
    (outside / "three").write_text("")
    (inside / "three").hardlink_to(outside / "three")
    seen = Tree(str(inside))
    seen.look()
    assert mounts.foreign(seen.linked) == ["three"]


def test_a_repository_is_known_by_its_parts(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "bare"], check=True)
    seen = Tree(str(tmp_path))
    seen.look()
    assert seen.guarded.keys() == {"bare/config", "bare/hooks"}


def test_a_work_tree_is_believed_if_its_repository_says_so(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    git = ["git", "-c", "user.name=a", "-c", "user.email=b@c"]
    subprocess.run([*git, "init", "-q", main], check=True)
    subprocess.run([*git, "-C", main, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "-C", main, "worktree", "add", "-q", linked], check=True)
    found = gitfiles.work_tree(linked / ".git")
    assert found is not None
    assert found.common == main / ".git"
    (tmp_path / "other").mkdir()
    stolen = tmp_path / "other" / ".git"
    stolen.write_text((linked / ".git").read_text())
    assert gitfiles.work_tree(stolen) is None


def test_it_finds_the_folder_of_hooks(tmp_path: Path) -> None:
    settings = tmp_path / "config"
    settings.write_text('[core]\n\tbare = false\n\thooksPath = "tools/hooks"\n')
    assert tmp_path / "tools" / "hooks" in gitfiles.led_to(settings, tmp_path)
    settings.write_text('[include]\n\tpath = ../mine\n[filter "x"]\n\tclean = tools/c %f\n')
    found = {path.resolve() for path in gitfiles.led_to(settings, tmp_path)}
    assert {tmp_path.parent / "mine", tmp_path / "tools" / "c"} <= found
    settings.write_text("[core]\n\teditor = vim\n[branch]\n\tmerge = refs/heads/main\n")
    assert list(gitfiles.led_to(settings, tmp_path)) == []


def test_a_seatbelt_profile_denies_first_and_quotes() -> None:
    said = seatbelt.profile([Path('/Users/me/a "b\\')], Path("/t"), ['/Users/me/a "b\\/x/.git'])
    lines = said.splitlines()
    assert lines[1] == "(deny default)"
    assert '(subpath "/Users/me/a \\"b\\\\")' in said
    assert lines[-2].startswith("(deny file-write*")
    assert '(literal "/Users/me/a \\"b\\\\/x")' in lines[-1]
