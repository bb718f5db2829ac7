"""A line between machine and gateway that carries nothing for a while, and nobody is told.

Minutes of it are for `make chaos`, seconds for every run.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from opscenter import env
from tests.faults import FaultProxy, between
from tests.gateway import pause
from tests.real import machine as machines
from tests.real import tunnel
from tests.real.conftest import need
from tests.real.machine import Machine
from tests.real.tunnel import Caller

pytestmark = pytest.mark.real

TRANSPORTS = ("websocket", "polling")
SHORT_S = [1, 10]
LONG_S = [60, 300] if env.words("OPSCENTER_CHAOS_SEEDS", []) else []
WORKS_MS = 3000  # of the tool whose call is in flight; longer than a lease
SURE_S = (
    20  # a partition that is over by then loses no call: neither its deadline nor its grace end
)
BACK_S = 60  # the target is 5 s, and what it took is printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Laptop:
    """A machine, the line to it, and who asks it."""

    machine: Machine
    line: FaultProxy
    caller: Caller

    @property
    def server(self) -> str:
        (name,) = self.machine.servers
        return name

    def submit(self, word: str, ms: float = 0) -> str:
        return self.caller.submit(self.server, "leave", {"word": word, "ms": ms})

    def wait_until_it_works(self) -> float:
        """Ask for calls until one is answered; how long that took."""
        began = time.monotonic()
        while not self._works():
            assert time.monotonic() - began < BACK_S
            pause()
        return time.monotonic() - began

    def _works(self) -> bool:
        try:
            call = self.caller.submit(self.server, "look", {"word": "anybody?"})
        except AssertionError as refused:  # it has been away for so long that it counts as offline
            assert str(refused).startswith("503")
            return False
        return bool(self.caller.end(call, BACK_S)["state"] == "succeeded")


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes") / "notes"


@pytest.fixture(scope="module")
def laptops(notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Laptop]]:
    """One by each transport, at the same gateway."""
    need(machines.CONNECTOR)
    folder = tmp_path_factory.mktemp("partition")
    settings = {
        "OPSCENTER_DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "OPSCENTER_MCP_LEASE_S": str(tunnel.LEASE_S),
    }
    with ExitStack() as running:
        stack = running.enter_context(
            tunnel.running(folder, count=1, owners=len(TRANSPORTS), settings=settings)
        )
        made = []
        for transport, owner in zip(TRANSPORTS, stack.owners, strict=True):
            line = running.enter_context(between(stack.workers[0].url))
            servers = {f"effects-{transport}": machines.effects_server(notes)}
            machine = Machine(
                folder / transport, servers, url=line.url, owner=owner, transport=transport
            )
            running.enter_context(machine)
            caller = running.enter_context(closing(stack.caller(owner)))
            made.append(Laptop(machine=machine, line=line, caller=caller))
        for one in made:
            one.machine.wait_until_ready()
            tunnel.wait_until_offered(one.caller, one.machine)
        yield made
        for one in made:
            assert "Traceback" not in one.machine.said()
        assert "Traceback" not in stack.workers[0].program.said()


@pytest.mark.parametrize("seconds", [*SHORT_S, *LONG_S])
def test_it_runs_nothing_twice_and_works_again_soon(
    laptops: list[Laptop], notes: Path, seconds: int
) -> None:
    for one in laptops:
        one.wait_until_it_works()
    flying = [one.submit(f"{one.server} flew {seconds}", WORKS_MS) for one in laptops]
    for one in laptops:
        one.machine.until(partial(_is_noted, notes, f"{one.server} flew {seconds}"))
        one.line.partition()
    waiting = [one.submit(f"{one.server} waited {seconds}") for one in laptops]
    pause(seconds)
    for one in laptops:
        one.line.heal()
    back = {one.server: one.wait_until_it_works() for one in laptops}
    ends = [one.caller.end(call)["state"] for one, call in zip(laptops, flying, strict=True)]
    waits = [one.caller.end(call)["state"] for one, call in zip(laptops, waiting, strict=True)]

    left = notes.read_text().splitlines()
    for one, waited in zip(laptops, waits, strict=True):
        assert left.count(f"left {one.server} flew {seconds}") == 1
        ran = left.count(f"left {one.server} waited {seconds}")
        assert ran == (waited == "succeeded")
    assert set(ends) <= ({"succeeded"} if seconds < SURE_S else {"succeeded", "lost"})
    assert set(waits) <= ({"succeeded"} if seconds < SURE_S else {"succeeded", "expired"})
    told = ", ".join(f"{name} after {took:.1f} s" for name, took in back.items())
    print(f"\n{seconds} s: back {told}; in flight: {ends}, waiting: {waits}")  # noqa: T201


def _is_noted(notes: Path, what: str) -> bool:
    return notes.exists() and what in notes.read_text()
