"""How often somebody may do something, counted in memory. Redis has its tests in tests/real."""

import inspect
import logging
from types import SimpleNamespace

import pytest
from django.core.cache import caches
from django_ratelimit import core
from pytest_django import Settings

from accounts import rates
from accounts.rates import CountersAwayError, Rate

RATE = Rate(limit=3, period_s=3600)
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still, so that no window ends in the middle of a test."""
    later(monkeypatch, 0)


@pytest.fixture
def away(settings: Settings) -> None:
    """Counters in a Redis that is not there."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:9/0",
        }
    }


def later(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(core, "time", SimpleNamespace(time=lambda: float(NOW + seconds)))


def test_it_counts_up_to_the_limit_and_over_it() -> None:
    counts = [rates.count("g", "alice", RATE) for _ in range(5)]
    assert [found.count for found in counts] == [1, 2, 3, 4, 5]
    assert [found.remaining for found in counts] == [2, 1, 0, 0, 0]
    assert [found.is_over for found in counts] == [False, False, False, True, True]
    assert {found.limit for found in counts} == {3}


def test_it_counts_everybody_and_everything_apart() -> None:
    rates.count("g", "alice", RATE)
    assert rates.count("g", "bob", RATE).count == 1
    assert rates.count("h", "alice", RATE).count == 1
    assert rates.count("g", "alice", Rate(limit=4, period_s=3600)).count == 1
    assert rates.count("g", "alice", RATE).count == 2


def test_it_looks_without_counting() -> None:
    assert rates.count("g", "alice", RATE, look=True).count == 0
    rates.count("g", "alice", RATE)
    assert [rates.count("g", "alice", RATE, look=True).count for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("who", ["", "a b", "\0\ud7ff", "x" * 100_000, "2001:db8::/64"])
def test_it_counts_under_any_name(who: str) -> None:
    assert [rates.count("g", who, RATE).count for _ in range(2)] == [1, 2]


def test_it_says_when_the_count_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_s = rates.count("g", "alice", RATE).resets_in_s
    assert 0 < wait_s <= RATE.period_s
    later(monkeypatch, wait_s - 1)
    assert rates.count("g", "alice", RATE).count == 2
    later(monkeypatch, wait_s)
    assert rates.count("g", "alice", RATE).count == 1


def test_it_takes_back_what_was_refused_for_another_reason() -> None:
    rates.count("g", "alice", RATE)
    rates.count("g", "alice", RATE)
    rates.forgive("g", "alice", RATE)
    assert rates.count("g", "alice", RATE, look=True).count == 1


def test_it_forgives_nothing_where_nothing_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rates.forgive("g", "alice", RATE)
    found = rates.count("g", "alice", RATE)
    later(monkeypatch, found.resets_in_s)
    rates.forgive("g", "alice", RATE)  # what was counted was counted in a window that is over
    assert rates.count("g", "alice", RATE).count == 1


def test_it_makes_the_key_that_the_pinned_library_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`forgive` asks two private functions of it where `get_usage` counts."""
    written: list[str] = []
    asked: list[str] = []
    cache = caches["default"]

    def add(key: str, *more: object) -> bool:
        written.append(key)
        return True

    monkeypatch.setattr(cache, "add", add)
    monkeypatch.setattr(cache, "decr", asked.append)
    for who in ("alice", "203.0.113.7", "ä", ""):
        rates.count("g", who, RATE)
        rates.forgive("g", who, RATE)
    assert len(set(written)) == 4
    assert asked == written
    assert list(inspect.signature(core._get_window).parameters) == ["value", "period"]
    assert list(inspect.signature(core._make_cache_key).parameters) == [
        "group",
        "window",
        "rate",
        "value",
        "methods",
    ]


def test_it_says_that_the_counters_are_away(away: None) -> None:
    with pytest.raises(CountersAwayError):
        rates.count("g", "alice", RATE)
    with pytest.raises(CountersAwayError):
        rates.count("g", "alice", RATE, look=True)
    rates.forgive("g", "alice", RATE)


def test_it_says_so_too_when_the_cache_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = caches["default"]
    monkeypatch.setattr(cache, "add", lambda *more: False)
    monkeypatch.setattr(cache, "incr", lambda key: None)
    with pytest.raises(CountersAwayError):
        rates.count("g", "alice", RATE)


def test_it_refuses_nobody_while_they_are_away_and_says_it_once_a_minute(
    away: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(rates, "_away_said_at", None)
    monkeypatch.setattr(rates, "time", SimpleNamespace(monotonic=lambda: now))
    with caplog.at_level(logging.WARNING, "accounts.rates"):
        for _ in range(3):
            assert rates.tried(rates.KEY_SECRETS, "alice") is None
        assert len(caplog.records) == 1
        now += rates.AWAY_SAID_EVERY_S
        assert rates.tried(rates.KEY_SECRETS, "alice") is None
        assert len(caplog.records) == 2


def test_it_counts_by_the_table() -> None:
    found = rates.tried(rates.KEY_SECRETS, "alice")
    assert found is not None
    assert (found.count, found.limit) == (1, 30)
    rates.allowed_after_all(rates.KEY_SECRETS, "alice")
    looked = rates.tried(rates.KEY_SECRETS, "alice", look=True)
    assert looked is not None
    assert looked.count == 0
