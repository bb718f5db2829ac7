"""What a command plants, changes or is led to, and what is put right after it."""

import os
from pathlib import Path

import pytest

from tests.sandbox.arena import Arena
from tests.sandbox.person import Person


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


def test_it_sees_links_where_there_are_too_many_folders_for_mounts(
    layer: str, folder: Path, person: Person
) -> None:
    deep = folder / "z" / "y" / ".vscode"
    deep.mkdir(parents=True)
    (folder / "evil").write_text("bad")
    (deep / "settings.json").symlink_to("of my own")
    for number in range(90):
        (folder / f"p{number}").mkdir()
        (folder / f"p{number}" / ".npmrc").write_text("")
    for path in (deep, *deep.parents[:2]):
        os.chown(path, person.uid, person.uid)
    away = {"quarantine": folder.parent / "quarantine"}
    command = (
        "cd z/y/.vscode && ln -s ../../../evil tasks.json && ln -sf ../../../evil settings.json"
    )
    found = person.run(layer, folder, f"{command} && echo THROUGH", **away)
    assert "THROUGH" in found["stdout"]
    assert os.listdir(deep) == ["settings.json"]
    assert (deep / "settings.json").readlink() == Path("of my own")


def test_it_protects_what_links_among_hooks_lead_to(
    layer: str, folder: Path, person: Person
) -> None:
    hook = folder / "tools" / "check"
    hook.parent.mkdir()
    hook.write_text("mine")
    (folder / ".git" / "hooks" / "pre-push").symlink_to("../../tools/check")
    (folder / ".git" / "hooks" / "post-merge").symlink_to("../../tools/new")  # not there yet
    for path in (hook, hook.parent):
        os.chown(path, person.uid, person.uid)
    command = "echo bad > tools/check; echo bad > tools/new; echo x > tools/free"
    person.run(layer, folder, command, quarantine=folder.parent / "quarantine")
    assert hook.read_text() == "mine"
    assert sorted(os.listdir(hook.parent)) == ["check", "free"]


def test_it_puts_a_repository_back_that_was_renamed(
    layer: str, folder: Path, person: Person
) -> None:
    person.run(layer, folder, "mv .git away; mkdir .git; echo bad > .git/config")
    assert "bad" not in (folder / ".git" / "config").read_text()
    assert (folder / ".git" / "HEAD").exists()


def test_a_folder_with_settings_may_be_renamed(layer: str, folder: Path, person: Person) -> None:
    found = person.run(layer, folder, "mv pkg renamed")
    assert found["quarantined"] == [], found
    assert not (folder / "pkg").exists()
    assert (folder / "renamed" / ".vscode" / "settings.json").read_text() == "{}"


def test_two_commands_rename_nothing_for_each_other(
    layer: str, folder: Path, person: Person
) -> None:
    """One takes the folder around protected settings away, while another writes them there."""
    away = "mv pkg away; touch moved; for n in {1..300}; do [ -e over ] && break; sleep .02; done"
    write = "echo bad > away/.vscode/settings.json; touch over"
    person.ask(op="pair", layer=layer, root=folder, commands=[f"{away}; mv away pkg", write])
    assert (folder / "pkg" / ".vscode" / "settings.json").read_text() == "{}"


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


def test_it_quarantines_beside_where_there_is_no_other_place(
    layer: str, folder: Path, person: Person
) -> None:
    """A home that may not be written."""
    found = person.run(layer, folder, "echo x > .envrc", quarantine="/proc/nowhere")
    assert found["quarantined"] == [f"{folder}/.envrc"]
    [beside] = folder.glob(".envrc.quarantined-*")
    assert beside.read_text() == "x\n"


@pytest.mark.usefixtures("bubblewrapped")
def test_files_with_names_elsewhere_are_read_only(here: Arena, person: Person) -> None:
    """Many of them: then whole folders are, so that the number of mounts stays bounded."""
    for number in range(300):
        folder = here.workspace / "store" / str(number)
        folder.mkdir(parents=True)
        (here.top / "outside" / f"kept{number}").write_text("as it was")
        (folder / "linked").hardlink_to(here.top / "outside" / f"kept{number}")
        os.chown(folder / "linked", person.uid, person.uid)
    os.chown(here.workspace / "store", person.uid, person.uid)
    command = "for f in store/*/linked; do echo bad > $f; done 2>/dev/null; echo x > free"
    person.run("bubblewrap", here.workspace, command)
    kept = {path.read_text() for path in (here.top / "outside").glob("kept*")}
    assert kept == {"as it was"}
    assert (here.workspace / "free").exists()
