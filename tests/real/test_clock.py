"""A machine whose clock jumps by an hour while a call runs there."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import gateway as gateways
from tests.real import machine, tunnel
from tests.real.conftest import need
from tests.real.machine import Machine, Owner
from tests.real.tunnel import Caller

pytestmark = pytest.mark.real

HOUR_S = 3600
WORK_S = 4  # the lease is renewed a few times meanwhile
LEASE_S = 2

# Python reads this before anything else: the clock of whoever asks for the time of day.
JUMPING = """
import os, time

_time, _time_ns = time.time, time.time_ns

def _ahead():
    try:
        with open(os.environ["CLOCK_AHEAD_FILE"]) as file:
            return int(file.read() or 0)
    except OSError:
        return 0

time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 10**9
"""


@dataclass(frozen=True, slots=True)
class Jumpy:
    """A machine, and the file that says how far its clock is ahead."""

    machine: Machine
    ahead: Path
    notes: Path


@pytest.fixture(params=["websocket", "polling"])
def jumpy(
    key: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Jumpy, Caller]]:
    need(*machine.PEERS)
    log, owner = tmp_path / "gateway.log", Owner(key=key, user_id=0)
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    ahead, notes = tmp_path / "ahead", tmp_path / "notes"
    environment = {"PYTHONPATH": str(tmp_path), "CLOCK_AHEAD_FILE": str(ahead)}
    with (
        gateways.running(log, OPSCENTER_MCP_LEASE_S=str(LEASE_S)) as (url, _),
        Machine(
            tmp_path / "laptop",
            {"effects": machine.effects_server(notes)},
            url=url,
            owner=owner,
            transport=request.param,
            environment=environment,
        ) as made,
        closing(Caller(url, owner)) as caller,
    ):
        made.wait_until_ready()
        tunnel.wait_until_offered(caller, made)
        yield Jumpy(made, ahead, notes), caller
    assert "Traceback" not in made.said()


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_jumps_changes_nothing(jumpy: tuple[Jumpy, Caller], by_s: int) -> None:
    there, caller = jumpy
    call_id = caller.submit("effects", "slow", {"word": "a", "seconds": WORK_S})
    there.machine.until(lambda: there.notes.exists() and "began a" in there.notes.read_text())
    there.ahead.write_text(str(by_s))
    call = caller.end(call_id)
    assert (call["state"], tunnel.text_of(call)) == ("succeeded", "a"), call
    assert there.notes.read_text().split() == ["began", "a", "ended", "a"]
    assert len(there.machine.events("connected")) == 1
    again = caller.run("effects", "leave", {"word": "b"})
    assert again["state"] == "succeeded", again
