"""The self-test: what it tries, which layer it finds, and what it says of the others."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector.checkup import boundary
from opscenter_connector.checkup.steps import OK, WARNING
from opscenter_connector.sandbox import (
    Canary,
    Ended,
    Layer,
    Outcome,
    SandboxError,
    Standing,
    canaries,
    run,
    survey,
)
from tests.sandbox.arena import Arena
from tests.sandbox.person import Person, ordinary

ALL_NAMES = set(canaries.NAMES)


def test_it_holds_every_canary(layer: str, folder: Path, person: Person) -> None:
    found = person.ask(op="survey", roots=[folder], forced=layer)
    assert found["layer"] == layer
    assert {one["name"] for one in found["canaries"] if one["held"]} == ALL_NAMES


async def test_its_canaries_get_out_where_nothing_holds_them() -> None:
    """What has no boundary of files, sockets and signals is seen to have none."""
    with canaries.cage() as cage:
        standing = Standing(layer=Layer.NONE)
        outcome = await run(standing, [cage.inside], cage.command, cwd=cage.inside, within_s=10)
        found = canaries.judged(cage, outcome)
    got_out = {one.name for one in found if not one.held}
    # In every layer environment and open files are made from nothing, and all processes end.
    assert got_out == ALL_NAMES - {"environment", "files", "survivors"}


@pytest.mark.real
def test_it_finds_the_best_layer_first(folder: Path, person: Person) -> None:
    found = person.ask(op="survey", roots=[folder])
    assert (found["layer"], found["why"]) == ("bubblewrap", "")


def test_it_says_what_to_install_and_takes_the_next(here: Arena, person: Person) -> None:
    found = without_bwrap(here, person)
    assert found["layer"] in {"landlock", "none"}
    assert "apt-get install bubblewrap" in found["why"]


def test_it_takes_no_worse_layer_than_was_asked_for(here: Arena, person: Person) -> None:
    found = without_bwrap(here, person, at_least="bubblewrap")
    assert "no sandbox as good as bubblewrap" in found["refused"]


@pytest.mark.real
def test_it_refuses_a_bubblewrap_that_runs_as_root(here: Arena, person: Person) -> None:
    programs = here.top / "bin"
    programs.mkdir()
    copy = Path(shutil.copy("/usr/bin/bwrap", programs))
    copy.chmod(0o4755)
    found = without_bwrap(here, person)
    assert found["layer"] == "landlock"
    assert "chmod u-s" in found["why"]


def test_it_says_what_bubblewrap_said_where_namespaces_are_forbidden(
    here: Arena, person: Person
) -> None:
    programs = here.top / "bin"
    programs.mkdir()
    words = "bwrap: No permissions to create new namespace, likely because the kernel does not"
    program = programs / "bwrap"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    program.chmod(0o755)
    found = without_bwrap(here, person)
    assert found["layer"] in {"landlock", "none"}
    assert "No permissions to create new namespace" in found["why"]


def test_it_refuses_a_folder_that_is_not_there(person: Person) -> None:
    found = person.ask(op="survey", roots=["/nowhere/at/all"])
    assert "cannot be used" in found["refused"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
async def test_landlock_is_not_for_root() -> None:
    with pytest.raises(SandboxError, match=r"ordinary user|not in this kernel|too old"):
        await survey([], forced=Layer.LANDLOCK)


def test_doctor_tells_the_layer_and_its_self_test() -> None:
    held = tuple(Canary(name=name, held=True) for name in canaries.NAMES)
    good = boundary.found(Standing(layer=Layer.BUBBLEWRAP, canaries=held))
    assert good.state == OK
    assert "read, write, network" in good.seen
    none = boundary.found(Standing(layer=Layer.NONE, why="bubblewrap is not installed"))
    assert none.state == WARNING
    assert "a person who approves" in none.why
    assert any("install bubblewrap" in line for line in none.fix)


@pytest.mark.parametrize("layer", [Layer.NONE, Layer.LANDLOCK])
def test_doctor_sends_who_chose_the_layer_to_the_line_that_says_so(layer: Layer) -> None:
    """To install something would change nothing."""
    found = boundary.found(Standing(layer=layer), demanded=layer.value)
    assert found.state == WARNING
    assert f'sandbox = "{layer.value}"' in found.why
    assert ("a person who approves" in found.why) == (layer is Layer.NONE)
    [line] = found.fix
    assert line.startswith("remove")


def without_bwrap(here: Arena, person: Person, **more: str) -> dict[str, Any]:
    """Asked by another process of the same user, who finds programs elsewhere."""
    with ordinary(person.uid) as other:
        return other.ask(op="survey", roots=[], path=str(here.top / "bin"), **more)


def test_a_stranger_in_the_environment_is_a_leak(tmp_path: Path) -> None:
    said = "ENV:PATH HOME SECRET_TOKEN _ PWD\nDONE\n"
    outcome = Outcome(stdout=said, stderr="", returncode=0, ended=Ended.EXIT)
    with canaries.cage() as cage:
        found = {one.name: one for one in canaries.judged(cage, outcome)}
    assert not found["environment"].held
    assert found["environment"].detail == "SECRET_TOKEN"


def test_a_self_test_that_does_not_end_has_held_nothing() -> None:
    outcome = Outcome(stdout="", stderr="bwrap: no", returncode=1, ended=Ended.EXIT)
    with canaries.cage() as cage:
        [found] = canaries.judged(cage, outcome)
    assert (found.held, found.detail) == (False, "the self-test did not end: bwrap: no")
