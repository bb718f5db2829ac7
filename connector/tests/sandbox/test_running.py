"""One command: what it is given, what comes of it, and what is refused before it begins."""

import os
from pathlib import Path

import pytest

from tests.sandbox.arena import Arena, running
from tests.sandbox.person import Person


def test_it_tells_outputs_and_code_apart(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "echo out; echo err >&2; exit 3")
    assert (found["stdout"], found["stderr"], found["returncode"]) == ("out\n", "err\n", 3)
    assert (found["ended"], found["layer"], found["quarantined"]) == ("exit", layer, [])


def test_it_stands_where_it_was_told_and_writes_there(
    layer: str, folder: Path, person: Person
) -> None:
    found = person.run(layer, folder, "pwd; echo x > made", cwd=folder / "pkg")
    assert found["stdout"] == f"{folder}/pkg\n"
    assert (folder / "pkg" / "made").read_text() == "x\n"


def test_it_knows_several_folders(layer: str, here: Arena, person: Person) -> None:
    second = here.top / "second folder"
    second.mkdir()
    os.chown(second, person.uid, person.uid)
    command = f'cat a.txt > "{second}/b" && ls "{second}"'
    found = person.run(layer, [here.workspace, second], command)
    assert found["stdout"] == "b\n", found


def test_it_has_no_variable_of_the_connectors(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "env")
    assert "SECRET_TOKEN" not in found["stdout"]
    assert "HOME=" in found["stdout"]


def test_it_has_an_empty_input(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "read x || echo end", within_s=5)
    assert found["stdout"] == "end\n"


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_it_runs_a_long_command(size: int, layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, f"x='{'y' * size}'; echo ${{#x}}")
    assert (found["stdout"], found["returncode"]) == (f"{size}\n", 0), found["stderr"][:200]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("echo a\0b", "NUL"),
        ("echo " + "y" * (2 * 1024 * 1024), "2097152 is the most"),
        ("echo \ud800", "no text"),
    ],
    ids=["NUL", "too long", "no text"],
)
def test_it_refuses_what_no_shell_takes(
    command: str, why: str, layer: str, folder: Path, person: Person
) -> None:
    found = person.run(layer, folder, command)
    assert why in found["refused"]


def test_it_shows_bytes_that_are_no_text(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, r"printf 'a\xff\xfeb\r\nc\033[31md\007'")
    assert found["stdout"] == "a\ufffd\ufffdb\ncd"


def test_it_keeps_the_beginning_and_the_end(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "echo first; seq 100000; echo last")
    assert found["stdout"].startswith("first\n")
    assert found["stdout"].endswith("\nlast\n")
    assert f"[… {found['left_out_bytes']} bytes left out …]" in found["stdout"]
    assert len(found["stdout"]) < 66_000


def test_it_refuses_a_folder_outside(layer: str, here: Arena, person: Person) -> None:
    found = person.run(layer, here.workspace, "pwd", cwd=here.top / "outside")
    assert "outside the allowed folders" in found["refused"]
    found = person.run(layer, here.workspace, "pwd", cwd=here.workspace / "link_dir")
    assert "outside the allowed folders" in found["refused"]


def test_it_refuses_a_folder_that_is_gone(layer: str, here: Arena, person: Person) -> None:
    here.workspace.rename(here.top / "elsewhere")
    found = person.run(layer, here.workspace, "pwd")
    assert "cannot be used" in found["refused"]


def test_it_tells_a_program_that_is_not_there(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "no-such-program")
    assert found["returncode"] == 127
    assert "command not found" in found["stderr"]


def test_it_ends_with_the_first_process_and_all_others(
    layer: str, here: Arena, person: Person
) -> None:
    command = f"(exec -a {here.tag}_behind sleep 60) & echo ok"
    found = person.run(layer, here.workspace, command, within_s=10)
    assert (found["ended"], found["stdout"]) == ("exit", "ok\n")
    assert found["duration_s"] < 5
    assert not running(f"{here.tag}_behind")


@pytest.mark.parametrize("name", ["with space", "new\nline", "$(id)", "quote'\"", "-rf", "ü\udcff"])
def test_it_takes_a_folder_of_any_name(name: str, layer: str, here: Arena, person: Person) -> None:
    odd = here.top / name
    odd.mkdir()
    os.chown(odd, person.uid, person.uid)
    found = person.run(layer, odd, "echo x > made && ls")
    assert found["stdout"] == "made\n", found
    assert (odd / "made").exists()


def test_it_quarantines_what_was_planted(layer: str, here: Arena, person: Person) -> None:
    away = here.top / "quarantine"
    command = "mkdir -p sub/.vscode; echo x > sub/.vscode/tasks.json; echo y > .envrc; echo z > z"
    found = person.run(layer, here.workspace, command, quarantine=away)
    planted = {str(here.workspace / name) for name in (".envrc", "sub/.vscode")}
    assert set(found["quarantined"]) == planted
    assert not (here.workspace / ".envrc").exists()
    assert (here.workspace / "z").read_text() == "z\n"
    kept = {path.read_text() for path in away.rglob("*") if path.is_file()}
    assert kept == {"x\n", "y\n"}


def test_it_leaves_alone_what_a_person_made_between_commands(
    layer: str, folder: Path, person: Person
) -> None:
    person.run(layer, folder, "true")
    (folder / ".envrc").write_text("mine")
    found = person.run(layer, folder, "true")
    assert found["quarantined"] == []
    assert (folder / ".envrc").read_text() == "mine"


def test_it_puts_settings_back_that_were_changed(layer: str, folder: Path, person: Person) -> None:
    settings = folder / "pkg" / ".vscode" / "settings.json"
    config = (folder / ".git" / "config").read_text()
    command = (
        "echo bad > pkg/.vscode/settings.json; git config a.b c; rm -rf .git/hooks .git/config"
    )
    person.run(layer, folder, command)
    assert settings.read_text() == "{}"
    assert (folder / ".git" / "config").read_text() == config
    found = person.run(layer, folder, "git status --short | head -1; git log --oneline | wc -l")
    assert found["stdout"].endswith("1\n"), found


def test_it_puts_a_repository_back_that_was_renamed(
    layer: str, folder: Path, person: Person
) -> None:
    person.run(layer, folder, "mv .git away; mkdir .git; echo bad > .git/config")
    assert "bad" not in (folder / ".git" / "config").read_text()
    assert (folder / ".git" / "HEAD").exists()


def test_it_works_in_a_linked_work_tree(layer: str, here: Arena, person: Person) -> None:
    tree = here.top / "tree"
    made = person.ask(
        op="bare",
        cwd=here.workspace,
        command=f"git worktree add -q {tree} && ls -d {tree}",
        within_s=20,
    )
    assert made["stdout"] == f"{tree}\n", made
    command = "echo x > new; git add new; git status --short; git log --oneline | wc -l"
    found = person.run(layer, tree, command)
    assert found["stdout"].splitlines()[0] in {"A  new", "?? new"}, found
    assert found["stdout"].endswith("1\n"), found
    both = person.run(
        layer,
        [here.workspace, tree],
        "git add new && git commit -qm n && git log --oneline | wc -l",
        cwd=tree,
    )
    assert both["stdout"] == "2\n", both


def test_a_file_named_git_leads_nowhere_else(layer: str, here: Arena, person: Person) -> None:
    """As an archive may bring it: it names a folder of the person's as its repository."""
    tree = here.top / "unpacked"
    fake = tree / "repository" / "worktrees" / "x"
    fake.mkdir(parents=True)
    (tree / ".git").write_text(f"gitdir: {fake}\n")
    (fake / "gitdir").write_text(f"{tree}/.git\n")
    (fake / "commondir").write_text(f"{here.top}/outside\n")
    for path in (tree, *tree.rglob("*")):
        os.chown(path, person.uid, person.uid)
    found = person.run(layer, tree, f"cat {here.top}/outside/secret.txt")
    assert found["stdout"] == ""


def test_hooks_that_lie_elsewhere_do_not_keep_it_from_running(
    layer: str, here: Arena, person: Person
) -> None:
    hooks = here.workspace / ".git" / "hooks"
    hooks.rename(here.top / "hooks")
    hooks.symlink_to(here.top / "hooks")
    found = person.run(layer, here.workspace, "git log --oneline | wc -l; rm .git/hooks")
    assert found["stdout"] == "1\n", found
    assert hooks.is_symlink()


def test_a_swapped_folder_is_refused(layer: str, here: Arena, person: Person) -> None:
    """It was one folder at the start and is a link to another by now."""
    person.ask(op="survey", roots=[here.workspace], forced=layer)
    assert person.run(layer, here.workspace, "echo 1", known=True)["stdout"] == "1\n"
    here.workspace.rename(here.top / "real")
    here.workspace.symlink_to(here.top / "outside")
    found = person.run(layer, here.workspace, "cat secret.txt", known=True)
    assert "refused" in found, found
    here.workspace.unlink()
    (here.top / "outside").rename(here.workspace)
    found = person.run(layer, here.workspace, "cat secret.txt", known=True)
    assert "is not the folder that was allowed" in found["refused"]
