"""Commands that take what they can get: each ends in time, with nothing of it left."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sandbox.arena import Arena, running
from tests.sandbox.person import Person
from tests.sandbox.test_killed import until

pytestmark = pytest.mark.real

WITHIN_S = 3.0
GRACE_S = 1.0  # the promise
GROWTH_KIB = 80 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Runaway:
    id: str
    command: str
    ended: tuple[str, ...]
    says: str = ""


ALL = (
    Runaway(id="a gigabyte of output", command="head -c 1G /dev/zero", ended=("output",)),
    Runaway(id="endless output", command="yes AAAAAAAA", ended=("output", "timeout")),
    Runaway(id="endless errors", command="yes AAAAAAAA >&2", ended=("output", "timeout")),
    Runaway(
        id="a fork bomb",
        command="f() { f | f & }; f; exec -a $T_bomb sleep 60",
        ended=("timeout", "processes", "exit"),
    ),
    Runaway(
        id="daemons",
        command="for i in 1 2 3; do setsid -f bash -c 'exec -a $T_daemon sleep 60'; done; sleep 60",
        ended=("timeout",),
    ),
    Runaway(
        id="deaf",
        command="trap '' TERM INT HUP QUIT; while :; do sleep .05; done",
        ended=("timeout",),
    ),
    Runaway(id="a FIFO nobody writes", command="mkfifo p; cat p", ended=("timeout",)),
    Runaway(
        id="4 GiB in one piece",
        command="python3 -c 'b = bytearray(4 << 30); print(len(b))' || echo refused",
        ended=("exit", "memory"),
        says="refused",
    ),
    Runaway(
        id="4 GiB shared",
        command=(
            "python3 -c '\nimport mmap\nm = mmap.mmap(-1, 6 << 30)\n"
            'for i in range(0, 6 << 30, 1 << 20): m[i:i + (1 << 20)] = b"x" * (1 << 20)\n'
            'print("TOOK ALL")\''
        ),
        ended=("memory", "timeout"),
    ),
    Runaway(
        id="memory as files",
        command="for i in $(seq 100); do head -c 60M /dev/zero > /dev/shm/$i || break; done",
        ended=("exit", "timeout", "disk"),
    ),
    Runaway(
        id="many files of a disk",
        command="for i in $(seq 99); do head -c 60M /dev/zero > $i || exit 1; done; echo FILLED",
        ended=("disk", "timeout"),
    ),
    Runaway(id="stopped by itself", command="kill -STOP $$; sleep 60", ended=("timeout",)),
    Runaway(
        id="nobody left to wait",
        command="(while :; do :; done) & (while :; do :; done) & disown -a; exec sleep 60",
        ended=("timeout",),
    ),
)


@pytest.mark.parametrize("runaway", ALL, ids=lambda one: one.id)
def test_it_ends(runaway: Runaway, layer: str, here: Arena, person: Person) -> None:
    before = person.run(layer, here.workspace, "true")["rss_kib"]
    found = person.run(
        layer,
        here.workspace,
        here.said(runaway.command),
        within_s=WITHIN_S,
        limits={"disk_bytes": 300 * 1024 * 1024, "memory_bytes": 1024**3},
    )
    assert found["ended"] in runaway.ended, found
    assert runaway.says in found["stdout"], found
    assert found["duration_s"] <= WITHIN_S + GRACE_S
    assert not running(here.tag + "_bomb"), "something of it is left"
    # The keeper itself goes a moment after it has reported.
    until(
        lambda: of_user(person.uid) <= {person.process.pid, here.bystander.pid} | nurseries(person)
    )
    assert found["rss_kib"] - before < GROWTH_KIB


def of_user(uid: int) -> set[int]:
    """All processes of that user."""
    found = set()
    for pid in running(""):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        who = next(line for line in lines if line.startswith("Uid:")).split()[1]
        if int(who) == uid and not any(line.startswith("State:\tZ") for line in lines):
            found.add(pid)
    return found


def nurseries(person: Person) -> set[int]:
    return {pid for pid in running("confined.nursery") if pid in of_user(person.uid)}
