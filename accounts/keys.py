"""Issue, hash, rotate, revoke and look up API keys."""

import hmac
import logging
import secrets
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error, close_old_connections, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.memory import Memory
from accounts.models import ApiKey, Membership, Organization
from accounts.outages import Outage
from accounts.principal import SCOPES, Principal
from accounts.reads import off_loop

logger = logging.getLogger(__name__)
_outage = Outage(logger, "the last use of a key could not be stored")

PREFIX = "sk-uc-"
ID_ALPHABET = string.digits + string.ascii_lowercase
ID_CHARS = 12  # 62 bits: enough never to meet another key's id, short enough to read out
SECRET_ALPHABET = string.digits + string.ascii_letters  # no "-", so a double click selects it whole
SECRET_CHARS = 43  # 256 bits, the strength of the HMAC it is stored under
KEY_CHARS = len(PREFIX) + ID_CHARS + len("-") + SECRET_CHARS

NAME_CHARS = 100  # the column's width
DAYS_MOST = 3650  # ten years; who wants longer wants a key without an end
GRACE_HOURS = 24  # time to bring a rotated key to every machine that uses it
GRACE_HOURS_MOST = 168  # a week; a former secret that lives longer was never really rotated

KEYS_IN_MEMORY = 20_000  # about 20 MB; beyond it the longest unused key is read again
USED_EVERY = timedelta(minutes=1)  # how exact "last used" is; each use more exact is one more write


# `compare_digest` needs something to compare with when there is nothing: this matches no key.
NO_DIGEST = secrets.token_bytes(32)


class ClosedKeyError(Exception):
    """The key is not active, or somebody else changed it first. Nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """What the hot path must know of a key to judge a credential without the database."""

    digest: bytes
    former_digest: bytes | None
    former_until: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    user_active: bool
    user_belongs: bool  # still a member of the organization that the key acts for
    principal: Principal

    def is_opened_by(self, digest: bytes) -> bool:
        """Whether `digest` is that of the present or the former secret, in constant time."""
        is_present = hmac.compare_digest(digest, self.digest)
        return hmac.compare_digest(digest, self.former_digest or NO_DIGEST) or is_present


def digest(key: str) -> bytes:
    """The HMAC under which `key` is stored. It covers the whole key, not just the secret."""
    # Not hmac.digest: that lets other threads run meanwhile, and then waits until one lets go.
    return hmac.new(settings.KEY_PEPPER.encode(), key.encode(), "sha256").digest()


def id_of(key: str) -> str | None:
    """The public id inside `key`; None when it cannot be a key of ours."""
    dash = len(PREFIX) + ID_CHARS
    # ASCII only: the id goes into a query, and PostgreSQL refuses some characters with an error.
    if len(key) != KEY_CHARS or not key.isascii() or not key.startswith(PREFIX):
        return None
    key_id = key[len(PREFIX) : dash]
    return key_id if key_id.isalnum() and key[dash] == "-" else None


def _chosen(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _with_new_secret(key_id: str) -> str:
    return f"{PREFIX}{key_id}-{_chosen(SECRET_ALPHABET, SECRET_CHARS)}"


def issue(
    organization: Organization,
    user: User,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None,
    *,
    is_service: bool = False,
    tags: Iterable[str] = (),
    key_id: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key. The second value is the key itself: it cannot be read again from anywhere.

    With a `key_id` that `new_id` made there is one such key: a second one is an IntegrityError.
    """
    key_id = key_id or new_id()
    plaintext = _with_new_secret(key_id)
    wanted = set(scopes)
    key = ApiKey.objects.create(
        id=key_id,
        organization=organization,
        user=user,
        name=name,
        scopes=[scope for scope in SCOPES if scope in wanted],  # in one order, each once
        digest=digest(plaintext),
        expires_at=expires_at,
        is_service=is_service,
        tags=list(tags),
    )
    return key, plaintext


def new_id() -> str:
    """A public id that no key has."""
    return _chosen(ID_ALPHABET, ID_CHARS)


def describe(key: ApiKey) -> None:
    """Store the name and the tags of `key`, and nothing else of it."""
    ApiKey.objects.filter(id=key.id).update(name=key.name, tags=key.tags)
    _forget_once_stored(key.id)


def rotate(key: ApiKey, grace: timedelta) -> str:
    """Give `key` a new secret; the former one still opens for `grace`."""
    now = timezone.now()
    plaintext = _with_new_secret(key.id)
    former = bytes(key.digest)
    # A second rotation would end the secret that the first one promised to keep for a while.
    undisturbed = Q(former_until__isnull=True) | Q(former_until__lte=now)
    # Of two who rotate at once one must lose: only one of the two secrets can be stored.
    changed = ApiKey.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=now),
        undisturbed if grace else Q(),
        id=key.id,
        digest=former,
        revoked_at__isnull=True,
    ).update(
        digest=digest(plaintext), former_digest=former, former_until=now + grace, rotated_at=now
    )
    if changed != 1:
        raise ClosedKeyError(
            "Only an active key can be rotated. This one was revoked, has expired,"
            " or was rotated and its former secret still opens: a grace of 0 ends that one now."
        )
    key.digest, key.former_digest = digest(plaintext), former
    key.former_until, key.rotated_at = now + grace, now
    _forget_once_stored(key.id)
    return plaintext


def revoke(key: ApiKey) -> bool:
    """Close `key` for good. False means that it was closed before."""
    now = timezone.now()
    changed = ApiKey.objects.filter(id=key.id, revoked_at__isnull=True).update(revoked_at=now)
    if changed != 1:
        return False
    key.revoked_at = now
    _forget_once_stored(key.id)
    return True


def _forget_once_stored(key_id: str) -> None:
    # This worker knows at once, the others when their memory runs out. Not before the commit:
    # a request in between would bring the old row back into memory.
    transaction.on_commit(partial(_known.forget, key_id))


def _read(key_id: str) -> KnownKey:
    """The key as the database has it now. Raises ApiKey.DoesNotExist."""
    return _known_of(_judged().get(id=key_id))


def _read_all(key_ids: Collection[str]) -> dict[str, KnownKey]:
    return {key.id: _known_of(key) for key in _judged().filter(id__in=key_ids)}


def _judged() -> Any:
    """Keys with all that they are judged by."""
    belongs = Membership.objects.filter(
        organization=OuterRef("organization"), user=OuterRef("user")
    )
    return ApiKey.objects.select_related("user").annotate(user_belongs=Exists(belongs))


def _known_of(key: Any) -> KnownKey:
    return KnownKey(
        digest=bytes(key.digest),
        former_digest=None if key.former_digest is None else bytes(key.former_digest),
        former_until=key.former_until,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        user_active=key.user.is_active,
        user_belongs=key.user_belongs,
        principal=Principal(
            organization_id=key.organization_id,
            user_id=key.user_id,
            key_id=key.id,
            scopes=frozenset(key.scopes),
            is_service=key.is_service,
            tags=tuple(key.tags),
        ),
    )


find_all = off_loop(_read_all)  # past the memory: for connections that live on
_read_off_loop = off_loop(_read)
_known: Memory[str, KnownKey] = Memory(
    _read_off_loop, ttl_s=settings.MEMORY_TTL_S, most=KEYS_IN_MEMORY
)


async def find(key_id: str) -> KnownKey | None:
    """The key with this id, at most `MEMORY_TTL_S` old; None when there is none."""
    try:
        return await _known.get(key_id)
    except ApiKey.DoesNotExist:
        # Not remembered: a key made just now must work, and a memory of made-up ids would push
        # out the real ones. What a flood of them can cost is bounded by reads.READERS.
        return None


def is_known(key_id: str, digest: bytes) -> bool:
    """Whether `digest` opened this key when it was read last, however long ago, without a read."""
    known = _known.last(key_id)
    return known is not None and known.is_opened_by(digest)


async def find_now(key_id: str) -> KnownKey | None:
    """The key as the database has it now, past the memory and without a mark on it."""
    try:
        return await _read_off_loop(key_id)
    except ApiKey.DoesNotExist:
        return None


_noted: dict[str, datetime] = {}


def used(key_id: str, now: datetime) -> bool:
    """Note a use of the key. True means that it is time to write it down with `write_use`."""
    last = _noted.get(key_id)
    if last is not None and now - last < USED_EVERY:
        return False
    if len(_noted) >= KEYS_IN_MEMORY:
        _noted.clear()  # costs each key in use one early write
    _noted[key_id] = now
    return True


def write_use(key_id: str, now: datetime) -> None:
    """Store the time of last use. It never raises: no request may fail because of it."""
    close_old_connections()
    try:
        ApiKey.objects.filter(
            Q(last_used_at__isnull=True) | Q(last_used_at__lt=now), id=key_id
        ).update(last_used_at=now)
    except Error as error:
        # The next use, a minute later, writes a better value anyway.
        _outage.met(error)
    else:
        _outage.over()
    finally:
        close_old_connections()
