"""From header values to a Principal, or to a refusal that says what to do."""

import logging
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import auth, keys
from accounts.memory import Memory
from accounts.models import ApiKey, Membership
from accounts.principal import MESSAGES, USAGE_READ, Principal
from accounts.tests.people import Person

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
FORGED = "sk-uc-" + "a" * 12 + "-" + "b" * 43
CALLER = Principal(
    organization_id=UUID(int=1),
    user_id=1,
    key_id="a" * 12,
    scopes=frozenset([MESSAGES]),
)
KNOWN = keys.KnownKey(
    digest=keys.digest("present"),
    former_digest=keys.digest("former"),
    former_until=NOW + DAY,
    expires_at=None,
    revoked_at=None,
    user_active=True,
    user_belongs=True,
    principal=CALLER,
)


@pytest.fixture
def key(alice: Person) -> ApiKey:
    """Alice's key; its plaintext stands in `key.plaintext`."""
    key, plaintext = alice.key()
    key.plaintext = plaintext  # type: ignore[attr-defined]  # only the tests know it
    return key


def plain(key: ApiKey) -> str:
    return str(key.plaintext)  # type: ignore[attr-defined]  # see the fixture


SHAPES = [
    ("Bearer {}", ""),
    ("bearer {}", ""),
    ("BEARER   {} ", ""),
    ("{}", ""),
    ("Bearer Bearer {}", ""),
    ("", "{}"),
    ("", "Bearer {}"),
    ("", "bearer {}"),
    ("Bearer {}", "{}"),
    ("Bearer {}", "Bearer {}"),
    ("Bearer sk-ant-oat01-somebody-elses", "{}"),
    ("Bearer {}", "sk-ant-api03-somebody-elses"),
    ("Bearer " + FORGED, "{}"),
    ("Bearer {}", FORGED),
    ("Bearer " + "eyJ" * 1000, "{}"),
    ("Basic YWxpY2U6c2VjcmV0", "{}"),
    ("Bearer", "{}"),
]


@pytest.mark.parametrize(("authorization", "x_api_key"), SHAPES)
async def test_it_takes_a_key_from_either_header(
    key: ApiKey, authorization: str, x_api_key: str
) -> None:
    caller = await auth.identify(authorization.format(plain(key)), x_api_key.format(plain(key)))
    assert caller.key_id == key.id
    assert caller.organization_id == key.organization_id


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "says"),
    [
        ("", "", auth.MISSING),
        ("Bearer", "", auth.MISSING),
        ("Bearer ", " ", auth.MISSING),
        ("Basic YWxpY2U6c2VjcmV0", "", auth.NOT_OURS),
        ("", "sk-ant-api03-x", auth.NOT_OURS),
        ("", FORGED, auth.UNKNOWN),
        ("x" * 201, "", auth.TOO_LONG),
        ("", "Bearer " + "x" * 100_000, auth.TOO_LONG),
    ],
)
async def test_it_says_what_to_do(authorization: str, x_api_key: str, says: str) -> None:
    with pytest.raises(auth.CredentialError) as caught:
        await auth.identify(authorization, x_api_key)
    assert str(caught.value) == says


async def test_it_refuses_a_known_id_with_a_wrong_secret_like_an_unknown_one(key: ApiKey) -> None:
    await sync_to_async(keys.revoke)(key)  # which a guesser must not learn
    with pytest.raises(auth.CredentialError) as caught:
        await auth.identify(f"Bearer sk-uc-{key.id}-{'b' * 43}", "")
    assert str(caught.value) == auth.UNKNOWN


async def test_it_refuses_a_revoked_key_on_this_worker_at_once(key: ApiKey) -> None:
    await auth.identify(plain(key), "")
    await sync_to_async(keys.revoke)(key)
    with pytest.raises(auth.ClosedError, match=r"was revoked on \d{4}-\d\d-\d\d"):
        await auth.identify(plain(key), "")


async def test_it_refuses_a_key_revoked_elsewhere_once_memory_runs_out(
    key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(keys._known._load, ttl_s=3600, most=10)
    monkeypatch.setattr(keys, "_known", memory)
    await auth.identify(plain(key), "")
    await ApiKey.objects.filter(id=key.id).aupdate(revoked_at=timezone.now())  # another worker
    await auth.identify(plain(key), "")  # still in memory: no read
    until, value = memory._kept[key.id]
    memory._kept[key.id] = (until - 3600, value)  # the hour passes
    with pytest.raises(auth.ClosedError, match="was revoked"):
        await auth.identify(plain(key), "")


def test_it_holds_a_revocation_on_every_worker_within_five_seconds() -> None:
    assert keys._known._ttl_s <= 4  # the fifth second is for the read itself


async def test_it_reads_nothing_for_a_key_in_memory(
    key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await auth.identify(plain(key), "")

    async def fail(key_id: str) -> keys.KnownKey:
        raise AssertionError(key_id)

    monkeypatch.setattr(keys._known, "_load", fail)
    waiting = auth.identify(plain(key), "")
    with pytest.raises(StopIteration):
        waiting.send(None)  # it ends at its first step: it waited for nobody


async def test_it_accepts_both_secrets_while_the_grace_lasts(key: ApiKey) -> None:
    plaintext = await sync_to_async(keys.rotate)(key, DAY)
    assert (await auth.identify(plain(key), "")).key_id == key.id
    assert (await auth.identify(plaintext, "")).key_id == key.id


async def test_it_refuses_the_former_secret_after_a_rotation_without_grace(key: ApiKey) -> None:
    await auth.identify(plain(key), "")
    plaintext = await sync_to_async(keys.rotate)(key, timedelta(0))
    assert (await auth.identify(plaintext, "")).key_id == key.id
    with pytest.raises(auth.ClosedError, match="was rotated"):
        await auth.identify(plain(key), "")


async def test_it_refuses_a_deactivated_user(key: ApiKey) -> None:
    await User.objects.filter(id=key.user_id).aupdate(is_active=False)
    with pytest.raises(auth.ClosedError, match="deactivated"):
        await auth.identify(plain(key), "")


async def test_it_refuses_a_user_who_left_the_organization(key: ApiKey) -> None:
    await Membership.objects.filter(user=key.user_id).adelete()
    with pytest.raises(auth.ClosedError, match="left its organization"):
        await auth.identify(plain(key), "")


async def test_it_tells_of_the_key_that_was_right_once(key: ApiKey) -> None:
    await sync_to_async(keys.revoke)(key)
    with pytest.raises(auth.ClosedError, match="was revoked"):
        await auth.identify("Bearer sk-ant-x", plain(key))


def test_it_judges_by_the_clock_it_is_handed() -> None:
    ends = replace(KNOWN, expires_at=NOW)
    present, former = keys.digest("present"), keys.digest("former")
    just_before = NOW - timedelta(microseconds=1)
    assert auth.judge(ends, present, now=just_before) == CALLER
    with pytest.raises(auth.ClosedError, match="expired on 2026-01-10"):
        auth.judge(ends, present, now=NOW)
    assert auth.judge(KNOWN, former, now=NOW) == CALLER
    with pytest.raises(auth.ClosedError, match="former secret ended on 2026-01-11"):
        auth.judge(KNOWN, former, now=NOW + DAY)
    assert auth.judge(KNOWN, present, now=NOW + DAY) == CALLER


def test_it_keeps_to_itself_why_a_key_is_closed_until_the_secret_is_right() -> None:
    closed = replace(KNOWN, revoked_at=NOW, expires_at=NOW, user_active=False)
    with pytest.raises(auth.CredentialError) as caught:
        auth.judge(closed, keys.digest("a guess"), now=NOW + DAY)
    assert str(caught.value) == auth.UNKNOWN


@pytest.mark.parametrize("known", [KNOWN, replace(KNOWN, former_digest=None), auth.NO_KEY])
def test_it_compares_equally_often_whatever_it_knows(
    known: keys.KnownKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return False

    # Counted, because no clock can tell two microseconds from three on a busy machine.
    monkeypatch.setattr("accounts.keys.hmac.compare_digest", compare)
    with pytest.raises(auth.CredentialError):
        auth.judge(known, keys.digest("a guess"), now=NOW)
    assert lengths == [(32, 32), (32, 32)]


headers = st.one_of(
    st.text(max_size=300),
    st.from_regex(r"([Bb]earer )?sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}", fullmatch=True),
    st.text(alphabet="sk-uc-Bearer 0\0é\ud800", max_size=80),
)


async def nobody(key_id: str) -> keys.KnownKey:
    raise ApiKey.DoesNotExist


@given(authorization=headers, x_api_key=headers)
async def test_it_answers_any_header_with_a_refusal_that_does_not_repeat_it(
    authorization: str, x_api_key: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_known", Memory(nobody, ttl_s=1, most=1))
        with pytest.raises(auth.CredentialError) as caught:
            await auth.identify(authorization, x_api_key)
    assert str(caught.value) in {auth.MISSING, auth.NOT_OURS, auth.TOO_LONG, auth.UNKNOWN}


def test_it_names_the_scope_that_a_key_lacks_and_those_it_has() -> None:
    auth.require(CALLER, MESSAGES)
    with pytest.raises(auth.ScopeError, match=r"lacks the scope usage:read; .*: anthropic-proxy"):
        auth.require(CALLER, USAGE_READ)


async def test_it_writes_down_the_use_of_a_key_once_a_minute(key: ApiKey) -> None:
    await auth.identify(plain(key), "")
    await sync_to_async(wait)(list(auth._under_way), timeout=30)
    await key.arefresh_from_db()
    first = key.last_used_at
    assert first is not None
    await auth.identify(plain(key), "")
    assert not auth._under_way
    await key.arefresh_from_db()
    assert key.last_used_at == first


async def test_it_does_not_note_the_use_of_a_key_it_refused(key: ApiKey) -> None:
    await sync_to_async(keys.revoke)(key)
    with pytest.raises(auth.CredentialError):
        await auth.identify(plain(key), "")
    assert not auth._under_way
    await key.arefresh_from_db()
    assert key.last_used_at is None


def test_it_goes_on_when_the_use_cannot_be_written(
    key: ApiKey, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_apikey RENAME TO hidden")
    try:
        with caplog.at_level(logging.WARNING):
            keys.write_use(key.id, timezone.now())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO accounts_apikey")
    assert "the last use of a key could not be stored" in caplog.text
    assert "Traceback" not in caplog.text
    assert plain(key) not in caplog.text


async def test_it_leaves_uses_unwritten_rather_than_queue_them_without_end(
    key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "WRITES_WAITING", 0)
    assert (await auth.identify(plain(key), "")).key_id == key.id
    assert not auth._under_way
