"""Wrong credentials by address: a flood reads nothing, and good keys go on from the same place."""

import threading
from concurrent.futures import wait
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import auth, failures, keys, rates
from accounts.memory import Memory
from accounts.models import ApiKey
from accounts.rates import Count, Rate
from accounts.tests.people import Person

pytestmark = pytest.mark.django_db(transaction=True)

OFFICE = "203.0.113.7"
LIMIT = 5
FORGED = "sk-uc-" + "a" * 12 + "-" + "b" * 43


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Rate(limit=LIMIT, period_s=60)
    monkeypatch.setitem(rates.RATES, rates.FAILED_AUTHENTICATION, rate)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of keys that the database was asked for, in a memory that is empty at first."""
    seen: list[str] = []

    read_off_loop = keys._read_off_loop

    async def read(key_id: str) -> keys.KnownKey:
        seen.append(key_id)
        return await read_off_loop(key_id)

    monkeypatch.setattr(keys, "_read_off_loop", read)  # past the memory
    monkeypatch.setattr(keys, "_known", Memory(read, ttl_s=60, most=100))
    return seen


async def flood(address: str = OFFICE, times: int = LIMIT) -> None:
    for _ in range(times):
        with pytest.raises(auth.WrongError):
            await auth.identify(FORGED, "", address)


async def test_it_stops_looking_after_so_many(reads: list[str]) -> None:
    await flood()
    assert len(reads) == LIMIT
    for n in range(100):
        with pytest.raises(auth.TooManyFailuresError) as caught:
            await auth.identify(f"sk-uc-{n:012}-{'b' * 43}", "", OFFICE)
        assert 0 < caught.value.retry_in_s <= 60
    assert len(reads) == LIMIT


@pytest.mark.parametrize("wrong", [FORGED, "sk-ant-somebody-elses", "x" * 10_000])
async def test_it_counts_every_kind_of_wrong_one(wrong: str) -> None:
    for _ in range(LIMIT):
        with pytest.raises(auth.WrongError):
            await auth.identify("", wrong, OFFICE)
    with pytest.raises(auth.TooManyFailuresError):
        await auth.identify("", wrong, OFFICE)


@pytest.mark.parametrize("nothing", ["", "Bearer", "Bearer  bearer "])
async def test_it_does_not_count_who_shows_none(nothing: str) -> None:
    for _ in range(LIMIT + 2):
        with pytest.raises(auth.CredentialError) as caught:
            await auth.identify(nothing, "", OFFICE)
        assert str(caught.value) == auth.MISSING
    await flood()


async def test_it_takes_a_key_it_knows_from_the_same_address(
    alice: Person, bob: Person, reads: list[str]
) -> None:
    known, plaintext = await sync_to_async(alice.key)()
    _, unknown = await sync_to_async(bob.key)()
    await auth.identify(plaintext, "", OFFICE)
    await flood()
    assert (await auth.identify(plaintext, "", OFFICE)).key_id == known.id
    assert (await auth.identify(FORGED, plaintext, OFFICE)).key_id == known.id
    reads.clear()
    with pytest.raises(auth.TooManyFailuresError):
        await auth.identify(unknown, "", OFFICE)
    with pytest.raises(auth.TooManyFailuresError):  # its id is no secret
        await auth.identify(f"{plaintext[:-43]}{'b' * 43}", "", OFFICE)
    assert reads == []
    assert (await auth.identify(unknown, "", "203.0.113.8")).user_id == bob.user.pk


async def test_it_takes_a_known_key_however_long_ago_it_was_read(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_known", Memory(keys._read_off_loop, ttl_s=0, most=100))
    key, plaintext = await sync_to_async(alice.key)()
    await auth.identify(plaintext, "", OFFICE)
    await flood()
    assert (await auth.identify(plaintext, "", OFFICE)).key_id == key.id
    await ApiKey.objects.filter(id=key.id).aupdate(user=await User.objects.acreate(username="dan"))
    with pytest.raises(auth.ClosedError):  # known is not good: it is judged by what it is now
        await auth.identify(plaintext, "", OFFICE)


async def test_it_counts_no_request_that_succeeds_in_the_end(alice: Person) -> None:
    _, plaintext = await sync_to_async(alice.key)()
    for _ in range(LIMIT + 2):
        await auth.identify(FORGED, plaintext, OFFICE)
    await flood()


async def test_it_does_not_count_the_owner_of_a_key_that_has_ended(alice: Person) -> None:
    key, plaintext = await sync_to_async(alice.key)()
    await sync_to_async(keys.revoke)(key)
    for _ in range(LIMIT + 2):
        with pytest.raises(auth.ClosedError):
            await auth.identify(plaintext, "", OFFICE)


async def test_it_asks_no_counter_for_a_good_key(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plaintext = await sync_to_async(alice.key)()
    monkeypatch.setattr(rates, "count", None)  # a call would raise
    await auth.identify(plaintext, "", OFFICE)
    await auth.identify(plaintext, "", OFFICE)


async def test_it_lets_an_address_try_again_when_the_window_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await flood()
    ends_at = failures._until[OFFICE]
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: ends_at - 0.1))
    assert failures.wait_s(OFFICE) == 1
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: ends_at))
    assert failures.wait_s(OFFICE) == 0
    assert OFFICE not in failures._until


async def test_it_knows_nobody_behind_a_socket_without_addresses() -> None:
    await flood("", LIMIT + 2)


async def test_it_remembers_only_so_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "ADDRESSES", 2)
    for n in range(3):
        await flood(f"203.0.113.{n}")
    assert list(failures._until) == ["203.0.113.2"]


async def test_it_does_not_wait_for_redis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    asked, answer = threading.Event(), threading.Event()

    def slow(group: str, who: str, rate: Rate, *, look: bool) -> Count:
        asked.set()
        assert answer.wait(30)
        return Count(count=LIMIT, limit=LIMIT, resets_in_s=60)

    monkeypatch.setattr(rates, "count", slow)
    monkeypatch.setattr(failures, "COUNTS_WAITING", 3)
    await flood(times=10)  # of which seven are not even kept: it is far behind
    assert asked.wait(30)
    assert failures.wait_s(OFFICE) == 0
    waiting = list(failures._under_way)
    assert len(waiting) == 3
    answer.set()
    await sync_to_async(wait)(waiting, timeout=30)
    assert failures.wait_s(OFFICE) > 0


async def test_it_refuses_nobody_while_the_counters_are_away_and_lets_them_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    now = 1000.0

    def away(group: str, who: str, rate: Rate, *, look: bool = False) -> Count:
        asked.append(who)
        raise rates.CountersAwayError

    monkeypatch.setattr(rates, "count", away)
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(failures, "_away_until", 0.0)
    await flood(times=3 * LIMIT)
    assert asked == [OFFICE]
    now += failures.REST_S
    await flood(times=1)
    assert asked == [OFFICE] * 2


def test_it_is_the_same_for_rest_pages(
    alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRUSTED_PROXIES = 1
    _, plaintext = alice.key()
    url = "/api/v1/api-keys"

    def ask(key: str, address: str = OFFICE) -> int:
        forwarded = f"192.0.2.{len(key)}, {address}"  # what a client makes up stands left
        client = APIClient(headers={"X-Api-Key": key, "X-Forwarded-For": forwarded})
        answer = client.get(url)
        if answer.status_code == 429:
            assert 0 < int(answer.headers["Retry-After"]) <= 60
            assert answer.json()["detail"].startswith("Too many wrong API keys")
        return int(answer.status_code)

    assert ask(plaintext) == 200
    assert [ask("x" * n) for n in range(1, LIMIT + 2)] == [401] * LIMIT + [429]
    assert ask(plaintext) == 200
    assert ask("x", "203.0.113.8") == 401
