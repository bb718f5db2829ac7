"""The connector is killed, or its helpers are: nothing goes on without it."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.sandbox.arena import Arena, running
from tests.sandbox.person import Person, ordinary

WITHIN_S = 5.0


def test_nothing_outlives_a_connector_that_is_killed(
    layer: str, here: Arena, person: Person
) -> None:
    with ordinary(person.uid) as other:
        begin(other, layer, here)
        until(lambda: running(f"{here.tag}_deep"))
        other.process.kill()
        other.process.wait()
        until(lambda: not running(here.tag + "_deep"))
        until(lambda: not running(here.tag + "_top"))


def test_nothing_outlives_a_keeper_that_is_killed(layer: str, here: Arena, person: Person) -> None:
    with ordinary(person.uid) as other:
        begin(other, layer, here)
        until(lambda: running(f"{here.tag}_deep"))
        for keeper in children(nursery(other)):
            os.kill(keeper, signal.SIGKILL)
        assert other.process.stdout
        assert "what looked after it was killed" in other.process.stdout.readline()
        until(lambda: not running(here.tag + "_deep"))


def test_a_nursery_that_is_killed_is_born_again(layer: str, here: Arena, person: Person) -> None:
    with ordinary(person.uid) as other:
        assert other.run(layer, here.workspace, "echo 1")["stdout"] == "1\n"
        os.kill(nursery(other), signal.SIGKILL)
        until(lambda: not running_nursery(other))
        assert other.run(layer, here.workspace, "echo 2")["stdout"] == "2\n"


def test_what_a_command_left_before_a_kill_is_put_away_at_the_next_start(
    layer: str, here: Arena, person: Person
) -> None:
    planting = "mkdir -p sub/.vscode; echo x > .envrc; touch planted"
    with ordinary(person.uid) as other:
        begin(other, layer, here, f"{planting}; sleep 60")
        until((here.workspace / "planted").exists)
        other.process.kill()
        other.process.wait()
    asked = {"op": "recover", "root": str(here.workspace), "quarantine": str(here.top / "away")}
    with ordinary(person.uid) as other:
        found = other.ask(**asked)["swept"]
        assert {one["path"] for one in found} == {
            str(here.workspace / name) for name in (".envrc", "sub/.vscode")
        }
        assert not (here.workspace / ".envrc").exists()
        assert all(Path(one["place"]).parent == here.top / "away" for one in found)
        (here.workspace / ".envrc").write_text("the person's own, by now")
        assert other.ask(**asked)["swept"] == []  # it is spoken of once
        assert other.run(layer, here.workspace, "true")["quarantined"] == []
    assert (here.workspace / ".envrc").exists()


def begin(other: Person, layer: str, here: Arena, command: str = "") -> None:
    """A command that nobody waits for, with a daemon of its own unless it is another."""
    command = command or (
        f"setsid -f bash -c 'exec -a {here.tag}_deep sleep 60'; exec -a {here.tag}_top sleep 60"
    )
    question = {
        "quarantine": str(here.top / "away"),
        "op": "run",
        "layer": layer,
        "roots": [str(here.workspace)],
        "command": command,
        "cwd": str(here.workspace),
        "within_s": 60,
    }
    assert other.process.stdin
    other.process.stdin.write(json.dumps(question) + "\n")
    other.process.stdin.flush()


def until(true: Callable[[], object]) -> None:
    """Another process's end has no event for us: look, within a bound."""
    give_up_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < give_up_s, "it did not come to that"
        threading.Event().wait(0.02)


def children(pid: int) -> list[int]:
    said = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in said.split()]


def running_nursery(other: Person) -> list[int]:
    return [pid for pid in children(other.process.pid) if pid in running("confined.nursery")]


def nursery(other: Person) -> int:
    [found] = running_nursery(other)
    return found
