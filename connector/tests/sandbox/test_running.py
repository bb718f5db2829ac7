"""One command: what it is given, what comes of it, and what is refused before it begins."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.arena import Arena, running
from tests.sandbox.person import Person
from tests.sandbox.test_killed import until


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


def test_it_holds_no_file_of_ours(layer: str, folder: Path, person: Person) -> None:
    code = """
import os
for fd in range(3, 1000):
    try: os.fstat(fd)
    except OSError: continue
    print(fd)
"""
    found = person.run(layer, folder, f"python3 -c '{code}'")
    assert found["stdout"] == "", found


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


def test_its_home_is_gone_afterwards(layer: str, folder: Path, person: Person) -> None:
    command = (
        "echo $HOME; cd ~; mkdir -p a/b; ln -s / l; chmod 000 a/b; chmod 311 a; touch $TMPDIR/x"
    )
    home = person.run(layer, folder, command)["stdout"].strip()
    assert home
    until(lambda: not Path(home).exists())


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


def test_it_ends_at_once_when_it_is_given_up(layer: str, here: Arena, person: Person) -> None:
    command = f"setsid -f bash -c 'exec -a {here.tag}_deep sleep 60'; touch begun; sleep 60"
    person.run(layer, here.workspace, "true")
    question = {"op": "cancel", "layer": layer, "root": here.workspace, "command": command}
    answer = person.ask(**question, begun=True)
    assert answer["took_s"] < 2
    assert answer["files"] == 0
    assert not running(f"{here.tag}_deep")


@pytest.mark.parametrize("after_s", [0, 0.001, 0.005, 0.02])
def test_nothing_is_left_of_one_that_is_given_up_early(
    after_s: float, layer: str, here: Arena, person: Person
) -> None:
    command = f"exec -a {here.tag}_deep sleep 60"
    person.run(layer, here.workspace, "true")
    question = {"op": "cancel", "layer": layer, "root": here.workspace, "command": command}
    answer = person.ask(**question, begun=False, after_s=after_s)
    assert answer["files"] == 0
    assert not running(f"{here.tag}_deep")
    # What a person makes afterwards is theirs: no command is taken to run any more.
    (here.workspace / ".envrc").write_text("mine")
    assert person.run(layer, here.workspace, "true")["quarantined"] == []


def test_several_run_at_once(layer: str, folder: Path, person: Person) -> None:
    """What one plants is put away, whichever ends first, and nothing else is."""
    commands = [f"echo {n} > made{n}; echo x > .envrc; cat made{n}" for n in range(6)]
    answer = person.ask(op="many", layer=layer, root=folder, commands=commands)
    assert [one["stdout"] for one in answer["outcomes"]] == [f"{n}\n" for n in range(6)]
    assert not (folder / ".envrc").exists()
    assert sorted(path.name for path in folder.glob("made*")) == [f"made{n}" for n in range(6)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_is_an_outcome(layer: str, here: Arena, person: Person) -> None:
    small = here.top / "small"
    small.mkdir()
    size = f"size=1m,uid={person.uid},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", small], check=True)
    try:
        (small / "filler").write_bytes(b"x" * 1024 * 1024)
        found = person.run(layer, small, "echo more > more && cat more; echo x > .envrc")
        again = person.run(layer, small, "head -c 3M /dev/zero > filler; sleep 0.4; echo here")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert "No space left on device" in found["stderr"], found
    assert again["ended"] in {"exit", "disk"}
