"""Several processes of which some do not answer, and signals at any time and in masses."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests import environment
from tests import gateway as gateways
from tests.crew import Crew, command_of
from tests.gateway import eventually
from tests.members import STUCK

GONE_S = 120  # ten at most; more on a loaded machine
MAKES_WAY = " makes way"
# Not `-m`: each child would run the module once more.
START = "import sys; from tests import members; members.serve(int(sys.argv[1]))"


@contextmanager
def running(log: Path) -> Iterator[Crew]:
    """A parent, from when it has children; they may still be about to start."""
    port = gateways.free_port()
    with log.open("wb") as output:
        parent = subprocess.Popen(
            [sys.executable, "-c", START, str(port)],
            cwd=environment.ROOT,
            env=environment.child(OPSCENTER_DRAIN_S="1"),
            stdout=output,
            stderr=output,
        )
    crew = Crew(url=f"http://127.0.0.1:{port}", parent=parent)
    try:
        eventually(lambda: len(crew.members()) == 2, within_s=GONE_S)
        yield crew
    finally:
        members = crew.members()
        parent.kill()
        parent.wait()
        for one in members:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def crew(log: Path) -> Iterator[Crew]:
    with running(log) as both:
        eventually(lambda: log.read_text().count("startup complete") == 2, within_s=GONE_S)
        yield both
    assert "Traceback" not in log.read_text()


def test_who_is_stuck_is_replaced(crew: Crew) -> None:
    before = crew.members()
    with suppress(httpx.HTTPError):  # it is killed in the middle of it
        httpx.get(f"{crew.url}{STUCK}", timeout=GONE_S, trust_env=False)
    now = eventually(lambda: _full(crew, before), within_s=GONE_S)
    assert len(now & before) == 1


def _full(crew: Crew, before: set[int]) -> set[int]:
    now = crew.members()
    return now if len(now) == 2 and now != before else set()


def test_a_replacement_waits_for_nobody_who_hangs(crew: Crew) -> None:
    before = crew.members()
    os.kill(min(before), signal.SIGSTOP)
    crew.parent.send_signal(signal.SIGHUP)
    eventually(lambda: crew.both_new(before), within_s=GONE_S)


def test_nor_does_a_stop(crew: Crew) -> None:
    before = crew.members()
    os.kill(min(before), signal.SIGSTOP)
    crew.parent.send_signal(signal.SIGTERM)
    crew.parent.wait(GONE_S)
    assert not any(command_of(one) for one in before)


def test_a_storm_of_signals_is_one_replacement_or_two(crew: Crew, log: Path) -> None:
    before = crew.members()
    for number in [signal.SIGHUP, signal.SIGCHLD, signal.SIGWINCH, signal.SIGUSR1] * 20:
        crew.parent.send_signal(number)
    eventually(lambda: crew.both_new(before), within_s=GONE_S)
    crew.parent.send_signal(signal.SIGTERM)
    crew.parent.wait(GONE_S)
    assert 2 <= log.read_text().count(MAKES_WAY) <= 4


def test_who_loses_the_parent_while_it_starts_ends_too(log: Path) -> None:
    with running(log) as crew:
        members = crew.members()
        crew.parent.kill()  # before any of them could look who it is
        crew.parent.wait()
        eventually(lambda: not any(map(command_of, members)), within_s=GONE_S)


def test_at_a_stop_in_the_middle_of_a_replacement_all_end_at_once(crew: Crew, log: Path) -> None:
    crew.parent.send_signal(signal.SIGHUP)
    eventually(lambda: MAKES_WAY in log.read_text(), within_s=GONE_S)
    crew.parent.send_signal(signal.SIGTERM)
    assert crew.parent.wait(GONE_S) == 0
