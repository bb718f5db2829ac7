"""Rates counted in Redis: by all processes together, and no request hangs when it is gone."""

import asyncio
import json
import math
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any, ClassVar, TypeVar

import pytest
from django.core.cache import caches
from pytest_django import Settings
from redis import Redis as Client

from accounts import failures, rates
from accounts.rates import Count, CountersAwayError, Rate
from billing import minutes
from tests import environment
from tests.real import peers, redis
from tests.real.conftest import need
from tests.real.redis import Redis

pytestmark = pytest.mark.real

T = TypeVar("T")

RATE = Rate(limit=1000, period_s=86400)
WHO = "203.0.113.7"
EACH = 300
PROMISED_S = 1.0
PROCESS_S = 60  # it starts Django, on a machine that may be busy

COUNTING = f"""
import django
django.setup()
from accounts import rates
for _ in range({EACH}):
    rates.count("g", "{WHO}", rates.Rate(limit={RATE.limit}, period_s={RATE.period_s}))
"""

# What an operator gets who sets OPSCENTER_REDIS_URL.
SETTINGS_SAID = """
import json
from opscenter import settings
print(json.dumps(settings.CACHES))
"""


@pytest.fixture
def server(settings: Settings) -> Iterator[Redis]:
    """A Redis, and this process's counters in it, as the product's own settings put them."""
    need("redis-server")
    with redis.running() as server:
        settings.CACHES = _caches_of(server)
        settings.REDIS_URL = server.url
        yield server


def _caches_of(server: Redis) -> dict[str, dict[str, object]]:
    said = _python(SETTINGS_SAID, server).communicate(timeout=PROCESS_S)[0]
    found: dict[str, dict[str, object]] = json.loads(said)
    return found


def _python(source: str, server: Redis) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=environment.ROOT,
        env=environment.child(
            OPSCENTER_REDIS_URL=server.url, DJANGO_SETTINGS_MODULE="opscenter.settings"
        ),
        stdout=subprocess.PIPE,
    )


def test_it_is_the_pinned_version() -> None:
    need("redis-server")
    program = peers.programs_of(peers.named("redis-server")) / "redis-server"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    assert f"v={peers.named('redis-server').version}." in said.stdout


def test_it_counts_for_all_processes_together(server: Redis) -> None:
    counting = [_python(COUNTING, server) for _ in range(2)]
    for process in counting:
        process.communicate(timeout=PROCESS_S)
        assert process.returncode == 0
    found = rates.count("g", WHO, RATE)
    assert found.count == 2 * EACH + 1
    rates.forgive("g", WHO, RATE)
    assert rates.count("g", WHO, RATE, look=True).count == 2 * EACH


def test_it_counts_many_in_one_go_as_it_counts_each(server: Redis) -> None:
    other = Rate(limit=2, period_s=86400)
    rates.count("g", WHO, RATE)
    found = rates.count_all("g", [(WHO, RATE), ("somebody", RATE), (WHO, other), (WHO, RATE)])
    assert [one.count for one in found] == [2, 1, 1, 3]
    one = rates.count("g", WHO, RATE)
    assert (one.count, one.limit) == (4, found[3].limit)
    assert abs(one.resets_in_s - found[3].resets_in_s) <= PROCESS_S
    rates.forgive("g", WHO, RATE)
    assert rates.count("g", WHO, RATE, look=True).count == 3


async def test_those_who_ask_at_once_share_a_round_trip(server: Redis) -> None:
    caches["default"].set("before", 1)  # the connection is there
    before = _reads(server)
    found = await asyncio.gather(*[minutes.count([(WHO, RATE)]) for _ in range(EACH)])
    assert sorted(one.count for counts in found for one in counts) == [*range(1, EACH + 1)]
    assert _reads(server) - before < EACH / 10


def _reads(server: Redis) -> int:
    """How often the server has read anything from anybody."""
    client = Client(port=server.port)
    found = int(client.info("stats")["total_reads_processed"])
    client.close()
    return found


async def test_nobody_waits_in_line_for_a_redis_that_is_frozen(
    server: Redis, waited_s: list[float]
) -> None:
    await minutes.count([(WHO, RATE)])
    server.freeze()
    found = await asyncio.gather(
        *[minutes.count([(WHO, RATE)]) for _ in range(EACH)], return_exceptions=True
    )
    assert {type(one) for one in found} == {CountersAwayError}
    assert sum(waited_s) < PROMISED_S


class Watched(socket.socket):
    """A socket that notes the bound of each wait that came to nothing.

    How long a request is held up at the most follows from these; how busy this machine is does not
    play into them.
    """

    waited_s: ClassVar[list[float]] = []

    def connect(self, address: Any, /) -> None:
        self._noted(lambda: super(Watched, self).connect(address))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self._noted(lambda: super(Watched, self).sendall(data, flags))

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return self._noted(lambda: super(Watched, self).recv(size, flags))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self._noted(lambda: super(Watched, self).recv_into(buffer, nbytes, flags))

    def _noted(self, wait: Callable[[], T]) -> T:
        bound_s = self.gettimeout()
        try:
            if bound_s is None:
                raise TimeoutError("It would wait for ever.")
            return wait()
        except TimeoutError:
            self.waited_s.append(math.inf if bound_s is None else bound_s)
            raise


@pytest.fixture
def waited_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a Watched socket notes; from now on every new socket is one."""
    monkeypatch.setattr(Watched, "waited_s", [])
    monkeypatch.setattr(socket, "socket", Watched)
    return Watched.waited_s


@pytest.mark.parametrize(("fail", "waits"), [("kill", 0), ("freeze", 1)])
def test_it_waits_less_than_a_second_for_a_redis_that_is_gone(
    server: Redis, waited_s: list[float], fail: str, waits: int
) -> None:
    rates.count("g", WHO, RATE)  # there is a connection, and it was good
    assert waited_s == []
    getattr(server, fail)()
    for _ in range(2):  # with the connection that breaks, and when making a new one
        with pytest.raises(CountersAwayError):
            rates.count("g", WHO, RATE)
        assert len(waited_s) == waits
        assert sum(waited_s) < PROMISED_S
        waited_s.clear()
    rates.forgive("g", WHO, RATE)
    assert len(waited_s) == waits
    assert sum(waited_s) < PROMISED_S


def test_it_finds_redis_again_when_it_is_back(server: Redis) -> None:
    rates.count("g", WHO, RATE)
    server.freeze()
    with pytest.raises(CountersAwayError):
        rates.count("g", WHO, RATE)
    server.thaw()
    assert rates.count("g", WHO, RATE).count >= 1


@pytest.mark.parametrize("fail", ["kill", "freeze"])
def test_it_never_waits_where_a_credential_was_wrong(
    server: Redis, fail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[threading.Thread] = []

    def tried(group: str, who: str) -> Count | None:
        asked.append(threading.current_thread())
        return rates_tried(group, who)

    rates_tried = rates.tried
    monkeypatch.setattr(rates, "tried", tried)
    monkeypatch.setattr(failures, "_away_until", 0.0)
    getattr(server, fail)()
    for _ in range(1000):
        failures.note(WHO)
    wait(list(failures._under_way), timeout=30)
    assert threading.current_thread() not in asked  # only a thread of its own waits for Redis
    assert 1 <= len(asked) < 10  # and not a thousand times
    assert failures.wait_s(WHO) == 0


def test_it_learns_from_redis_what_other_processes_counted(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_away_until", 0.0)
    monkeypatch.setitem(rates.RATES, rates.FAILED_AUTHENTICATION, RATE)
    for _ in range(RATE.limit - 1):
        rates.count(rates.FAILED_AUTHENTICATION, WHO, RATE)
    assert failures.wait_s(WHO) == 0
    failures.note(WHO)
    wait(list(failures._under_way), timeout=30)
    assert failures.wait_s(WHO) > 0
