"""API keys: how they are made, stored, rotated, revoked and found."""

import re
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import keys
from accounts.models import ApiKey, Membership
from accounts.principal import CALLBACK, MESSAGES, Principal
from accounts.tests.people import Person

HOUR = timedelta(hours=1)


def test_it_makes_a_key_that_a_double_click_selects(alice: Person) -> None:
    key, plaintext = alice.key()
    assert re.fullmatch(r"sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}", plaintext)
    assert plaintext.startswith(f"sk-uc-{key.id}-")
    assert keys.id_of(plaintext) == key.id


def test_it_never_makes_the_same_key_twice(alice: Person) -> None:
    assert len({alice.key()[1] for _ in range(50)}) == 50


def test_it_stores_the_hmac_of_the_whole_key_and_nothing_of_its_secret(alice: Person) -> None:
    key, plaintext = alice.key()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_apikey")
        row: tuple[Any, ...] = cursor.fetchone()
    assert plaintext[-43:] not in repr(row)
    assert bytes(ApiKey.objects.get(id=key.id).digest) == keys.digest(plaintext)


def test_it_hashes_under_the_pepper(settings: Settings) -> None:
    before = keys.digest("sk-uc-x")
    settings.KEY_PEPPER = "another pepper"
    assert keys.digest("sk-uc-x") != before
    assert len(before) == 32


def test_it_keeps_scopes_in_one_order_and_each_once(alice: Person) -> None:
    key, _ = alice.key(scopes=[CALLBACK, MESSAGES, CALLBACK])
    assert key.scopes == [MESSAGES, CALLBACK]


def test_it_rotates_to_a_new_secret_under_the_same_id(alice: Person) -> None:
    key, former = alice.key()
    plaintext = keys.rotate(key, HOUR)
    key.refresh_from_db()
    assert plaintext != former
    assert keys.id_of(plaintext) == keys.id_of(former) == key.id
    assert bytes(key.digest) == keys.digest(plaintext)
    assert bytes(key.former_digest or b"") == keys.digest(former)
    assert key.rotated_at is not None
    assert key.former_until == key.rotated_at + HOUR


def test_it_lets_the_second_of_two_rotations_lose(alice: Person) -> None:
    key, _ = alice.key()
    seen_before = ApiKey.objects.get(id=key.id)
    plaintext = keys.rotate(key, HOUR)
    with pytest.raises(keys.ClosedKeyError):
        keys.rotate(seen_before, HOUR)
    assert bytes(ApiKey.objects.get(id=key.id).digest) == keys.digest(plaintext)


def test_it_does_not_cut_short_the_grace_that_it_promised(alice: Person) -> None:
    key, first = alice.key()
    keys.rotate(key, HOUR)
    with pytest.raises(keys.ClosedKeyError, match="grace of 0"):
        keys.rotate(key, HOUR)
    key.refresh_from_db()
    assert bytes(key.former_digest or b"") == keys.digest(first)


def test_it_rotates_twice_in_a_row_on_the_same_object(alice: Person) -> None:
    key, _ = alice.key()
    second = keys.rotate(key, HOUR)
    third = keys.rotate(key, timedelta(0))
    key.refresh_from_db()
    assert bytes(key.digest) == keys.digest(third)
    assert bytes(key.former_digest or b"") == keys.digest(second)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_it_does_not_rotate_a_closed_key(alice: Person, how: str) -> None:
    key, _ = alice.key(expires_at=timezone.now() if how == "expired" else None)
    if how == "revoked":
        keys.revoke(key)
    with pytest.raises(keys.ClosedKeyError):
        keys.rotate(key, HOUR)


def test_it_revokes_once_and_keeps_the_first_moment(alice: Person) -> None:
    key, _ = alice.key()
    seen_before = ApiKey.objects.get(id=key.id)
    assert keys.revoke(key) is True
    assert keys.revoke(seen_before) is False
    assert ApiKey.objects.get(id=key.id).revoked_at == key.revoked_at


def test_it_changes_a_key_by_one_update(
    alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    key, _ = alice.key()
    with django_assert_num_queries(1):
        keys.rotate(key, HOUR)
    with django_assert_num_queries(1):
        keys.revoke(key)


def test_it_has_no_former_secret_without_an_end(alice: Person) -> None:
    key, _ = alice.key()
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(id=key.id).update(former_digest=b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-uc-",
        "sk-ant-api03-" + "a" * 49,
        "sk-uc-" + "a" * 12 + "_" + "b" * 43,
        "sk-uc-" + "a" * 11 + "\0" + "-" + "b" * 43,
        "sk-uc-" + "a" * 11 + "é" + "-" + "b" * 43,
        "sk-uc-" + "a" * 12 + "-" + "b" * 44,
    ],
)
def test_it_sees_no_id_in_what_cannot_be_a_key(text: str) -> None:
    assert keys.id_of(text) is None


@pytest.mark.django_db(transaction=True)
async def test_it_finds_what_the_hot_path_needs(alice: Person) -> None:
    key, plaintext = await make(alice)
    known = await keys.find(key.id)
    assert known is not None
    assert known.digest == keys.digest(plaintext)
    assert (known.former_digest, known.former_until) == (None, None)
    assert (known.expires_at, known.revoked_at) == (None, None)
    assert (known.user_active, known.user_belongs) == (True, True)
    assert known.principal == Principal(
        organization_id=alice.organization.id,
        user_id=alice.user.pk,
        key_id=key.id,
        scopes=frozenset([MESSAGES]),
    )


@pytest.mark.django_db(transaction=True)
async def test_it_finds_a_key_that_was_made_after_somebody_asked_for_it(alice: Person) -> None:
    assert await keys.find("abcdefghijkl") is None
    await ApiKey.objects.acreate(
        id="abcdefghijkl",
        organization=alice.organization,
        user=alice.user,
        name="late",
        digest=b"d" * 32,
    )
    assert await keys.find("abcdefghijkl") is not None


@pytest.mark.django_db(transaction=True)
async def test_it_sees_who_was_deactivated_or_left(alice: Person) -> None:
    await User.objects.filter(id=alice.user.pk).aupdate(is_active=False)
    await Membership.objects.filter(user=alice.user).adelete()
    key, _ = await make(alice)
    known = await keys.find(key.id)
    assert known is not None
    assert (known.user_active, known.user_belongs) == (False, False)


def test_it_reads_a_key_with_one_query(
    alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    key, _ = alice.key()
    with django_assert_num_queries(1):
        keys._read(key.id)


def test_it_wants_a_use_written_once_a_minute_for_each_key() -> None:
    start = timezone.now()
    moments = [start + timedelta(seconds=s) for s in (0, 1, 59, 60, 61, 119, 121)]
    due = [keys.used("usedonceamin", moment) for moment in moments]
    assert due == [True, False, False, True, False, False, True]
    assert keys.used("another12345", start)


def test_it_bounds_the_memory_of_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_IN_MEMORY", 3)
    monkeypatch.setattr(keys, "_noted", {})
    for number in range(10):
        assert keys.used(f"key{number}", timezone.now())
        assert len(keys._noted) <= 3


@pytest.mark.django_db(transaction=True)
def test_it_never_moves_last_use_backwards(alice: Person) -> None:
    key, _ = alice.key()
    now = timezone.now()
    keys.write_use(key.id, now)
    keys.write_use(key.id, now - HOUR)  # another worker's, late
    key.refresh_from_db()
    assert key.last_used_at == now


async def make(person: Person) -> tuple[ApiKey, str]:
    """A key, made away from the loop, as a page makes it."""
    return await sync_to_async(person.key)(scopes=[MESSAGES])
