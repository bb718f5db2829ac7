"""Five hundred slow clients at once, by slowhttptest: those who are not slow are served meanwhile.

For `make chaos`: each of the three ways takes most of a minute.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from opscenter import env
from tests import gateway as gateways
from tests.gateway import Gateway, eventually, pause
from tests.real import peers
from tests.real.conftest import need

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not env.words("OPSCENTER_CHAOS_SEEDS", []), reason="for `make chaos`"),
]

CLIENTS = 500
RATE = 250  # new ones in a second
ATTACK_S = 40
CLOSED_S = 30  # the target; every bound of ours is well under it
END_S = 90
HEALTHY_EVERY_S = 0.1
FDS_LEFT = 40  # more than before: keep-alive connections of those who are not slow, and of ours
MIB_LEFT = 150  # what hundreds of pages at once took of it is kept for the next ones
BODY = {
    "model": "claude-opus-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}
WAYS = {
    "header": ["-H", "-i", "5", "-x", "24", "-u", "{url}/v1/models"],
    "body": ["-B", "-i", "5", "-s", "8192", "-x", "10", "-u", "{url}/v1/messages"],
    # Each asks for the page again and again on its connection, and reads a few bytes of it.
    "read": ["-X", "-k", "8", "-n", "2", "-w", "1", "-y", "16", "-z", "8", "-u", "{url}/sign-in/"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What those who are not slow were told, and how long they waited."""

    statuses: set[int]
    waits_s: list[float]

    @property
    def p99_ms(self) -> float:
        return sorted(self.waits_s)[int(len(self.waits_s) * 0.99)] * 1000


def asked_for(gateway: Gateway, seconds: float) -> Answered:
    """Ask for health and for a message, in turn, for so long."""
    found = Answered(statuses=set(), waits_s=[])
    until = time.monotonic() + seconds
    with httpx.Client(
        base_url=gateway.url, headers=gateway.headers, timeout=END_S, trust_env=False
    ) as client:
        while time.monotonic() < until:
            for method, path, body in (("GET", "/healthz", None), ("POST", "/v1/messages", BODY)):
                began = time.monotonic()
                found.statuses.add(client.request(method, path, json=body).status_code)
                found.waits_s.append(time.monotonic() - began)
            pause(HEALTHY_EVERY_S)
    return found


@contextmanager
def slow_clients(gateway: Gateway, way: str) -> Iterator[None]:
    program = peers.programs_of(peers.named("slowhttptest")) / "slowhttptest"
    asked = [part.format(url=gateway.url) for part in WAYS[way]]
    bounds = ["-c", str(CLIENTS), "-r", str(RATE), "-l", str(ATTACK_S), "-p", str(END_S)]
    process = subprocess.Popen(
        [program, *bounds, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        process.wait(END_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def connections(gateway: Gateway) -> set[str]:
    """The sockets that the gateway has open, by their names."""
    found = set()
    for one in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed just now
            found.add(str(one.readlink()))
    return {name for name in found if name.startswith("socket:")}


@pytest.mark.parametrize("way", WAYS)
def test_who_is_not_slow_is_served_and_who_is_does_not_stay(
    gateway: Gateway, tmp_path: Path, way: str
) -> None:
    need("slowhttptest")
    log = tmp_path / "log"
    with gateways.running(log) as (url, process):
        own = Gateway(url=url, key=gateway.key, process=process, log=log)
        calm = asked_for(own, 5)
        fds, mib = len(connections(own)), own.resident_mb
        with slow_clients(own, way):
            eventually(lambda: len(connections(own)) > CLIENTS * 0.9, within_s=END_S)
            first = connections(own)
            held = asked_for(own, CLOSED_S)
            stayed = len(first & connections(own))
        assert calm.statuses == held.statuses == {200}
        eventually(lambda: len(connections(own)) <= fds + FDS_LEFT, within_s=END_S)
        grown = own.resident_mb - mib
        assert grown <= MIB_LEFT
        after = asked_for(own, 2)
        assert after.statuses == {200}
    assert "Traceback" not in log.read_text()
    said = f"p99 {calm.p99_ms:.0f} ms alone, {held.p99_ms:.0f} ms beside {CLIENTS}"
    left = f"of {len(first)} {stayed} were there after {CLOSED_S} s; {grown} MiB more"
    print(f"\n{way}: {said}; {left}")  # noqa: T201
    if way != "read":
        assert stayed <= FDS_LEFT
