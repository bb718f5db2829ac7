"""Rates counted in Redis: by all processes together, and no request hangs when it is gone."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait

import pytest
from pytest_django import Settings

from accounts import failures, rates
from accounts.rates import Count, CountersAwayError, Rate
from tests import environment
from tests.real import peers, redis
from tests.real.conftest import need
from tests.real.redis import Redis

pytestmark = pytest.mark.real

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


@pytest.mark.parametrize("fail", ["kill", "freeze"])
def test_it_says_within_a_second_that_redis_is_gone(server: Redis, fail: str) -> None:
    rates.count("g", WHO, RATE)  # there is a connection, and it was good
    getattr(server, fail)()
    for _ in range(2):  # with the connection that breaks, and when making a new one
        started = time.monotonic()
        with pytest.raises(CountersAwayError):
            rates.count("g", WHO, RATE)
        assert time.monotonic() - started < PROMISED_S
    started = time.monotonic()
    rates.forgive("g", WHO, RATE)
    assert time.monotonic() - started < PROMISED_S


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
