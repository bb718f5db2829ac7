"""Header values in, `Principal` out, or a named refusal; the same for HTTP and for the tunnel."""

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts import failures, jwt, keys, tokens
from accounts.principal import IDENTITY_MARK, Principal

CREDENTIAL_CHARS = 200  # three times a key of ours; more is somebody else's token or an attack
TOKEN_CHARS = 8192  # a token with a hundred roles has as many; some proxies pass on no more
WRITES_WAITING = 10_000  # uses not yet written down; with a slow database the rest go unwritten

NO_KEY = keys.KnownKey(
    digest=keys.NO_DIGEST,
    former_digest=None,
    former_until=None,
    expires_at=None,
    revoked_at=None,
    user_active=False,
    user_belongs=False,
    principal=Principal(organization_id=UUID(int=0), user_id=0, key_id="", scopes=frozenset()),
)

MISSING = (
    f"No API key: set ANTHROPIC_AUTH_TOKEN to a key that starts with {keys.PREFIX},"
    " or send it as `Authorization: Bearer` or as `x-api-key`"
)
TOO_LONG = (
    f"Unknown API key: it is longer than {CREDENTIAL_CHARS} characters,"
    f" and keys of this gateway are {keys.KEY_CHARS} long"
)
NOT_OURS = (
    f"Unknown API key: a key of this gateway starts with {keys.PREFIX}"
    f" and is {keys.KEY_CHARS} characters long; check that it was copied whole"
)
TASK_PREFIX = "task-uc-"  # a token of work that an agent elsewhere does
OF_A_TASK = (
    "This is the token of a task. It runs that task's tools by POST /api/mcp/execute,"
    " as `Authorization: Bearer`, and opens nothing else"
)
NO_TOKENS = (
    "This is a token, and this gateway knows no issuer of tokens: KEYCLOAK_URL is not set."
    f" Use a key that starts with {keys.PREFIX}"
)
UNKNOWN = "Unknown API key: check that it was copied whole, or create a new one"


class CredentialError(Exception):
    """Nobody can be told from these headers. The text says what to do and holds no credential."""


class WrongError(CredentialError):
    """A credential that never opened anything here. These are counted by address."""


class TooManyFailuresError(CredentialError):
    """Too many wrong ones came from this address; this one was not looked at."""

    def __init__(self, retry_in_s: int) -> None:
        super().__init__(
            "Too many wrong API keys came from your address, and this key was not used here"
            f" lately, so it is not looked at. Try again in {retry_in_s} seconds"
        )
        self.retry_in_s = retry_in_s


class ClosedError(CredentialError):
    """The secret is right, so its owner may hear why the key opens nothing any more."""


class ScopeError(Exception):
    """The key is good, but not for this."""


async def identify(authorization: str, x_api_key: str, address: str = "") -> Principal:
    """Who sent these headers. When both hold a credential, one good one is enough.

    Wrong ones are counted by `address`; where there were too many, only keys that this process
    knows as good are taken, so that one bad script locks nobody out of a whole office.
    """
    wait_s = failures.wait_s(address)
    refusals: list[CredentialError] = []
    # A dict keeps the order and drops the second of two equal ones; Authorization goes first.
    for header in dict.fromkeys((authorization, x_api_key)):
        if not header:
            continue
        try:
            return await _owner(_credential(header), known_only=wait_s > 0)
        except CredentialError as refusal:
            refusals.append(refusal)
    # The key that was right once helps its owner more than the one that never was.
    refusals.sort(key=lambda refusal: not isinstance(refusal, ClosedError))
    refused = refusals[0] if refusals else CredentialError(MISSING)
    if isinstance(refused, WrongError):
        if wait_s:
            raise TooManyFailuresError(wait_s)
        failures.note(address)
    raise refused


def require(principal: Principal, scope: str) -> None:
    """Refuse a key that was not made for `scope`."""
    if scope not in principal.scopes:
        has = ", ".join(sorted(principal.scopes)) or "none"
        raise ScopeError(
            f"This API key lacks the scope {scope}; its scopes are: {has}."
            " Make one that has it: Keys in the portal (/portal/keys/), or POST /api/v1/api-keys."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which key a connection showed at its beginning, and with which secret; or which token."""

    key_id: str
    digest: bytes = b""
    token: tokens.Held | None = None


async def shown(principal: Principal, authorization: str, x_api_key: str) -> Shown | None:
    """What of these headers `identify` took `principal` from."""
    for header in (authorization, x_api_key):
        with suppress(CredentialError, jwt.TokenError):
            credential = _credential(header)
            if jwt.is_one(credential):
                held = tokens.held(await tokens.claims_of(credential))
                return Shown(key_id=principal.key_id, token=held)
            if keys.id_of(credential) == principal.key_id:
                return Shown(key_id=principal.key_id, digest=keys.digest(credential))
    return None


async def closed(shown: Collection[Shown]) -> dict[Shown, str]:
    """Which of these would be refused now, and why: one read for all keys."""
    by_key = [one for one in shown if one.token is None]
    found = await keys.find_all({one.key_id for one in by_key}) if by_key else {}
    now = timezone.now()
    refused: dict[Shown, str] = {}
    for one in by_key:
        try:
            judge(found.get(one.key_id, NO_KEY), one.digest, now=now)
        except CredentialError as error:
            refused[one] = str(error)
    for one in shown:
        if one.token is not None and (reason := await tokens.closed(one.token)):
            refused[one] = reason
    return refused


def _credential(header: str) -> str:
    """The key in `Bearer <key>`, `bearer <key>` or `<key>`, whichever header it came in.

    An earlier guide told people to set `x-api-key: Bearer <key>`, and a client that adds its own
    scheme to such a value sends it twice.
    """
    if len(header) > TOKEN_CHARS:
        raise WrongError(TOO_LONG)
    words = header.split()
    while words and words[0].lower() == "bearer":
        del words[0]
    if not words:
        raise CredentialError(MISSING)
    credential = " ".join(words)
    if len(header) > CREDENTIAL_CHARS and not jwt.is_one(credential):
        raise WrongError(TOO_LONG)
    return credential


async def _owner(credential: str, *, known_only: bool) -> Principal:
    if jwt.is_one(credential):
        return await _bearer(credential)
    key_id = keys.id_of(credential)
    if key_id is None:
        if credential.startswith(TASK_PREFIX):
            raise CredentialError(OF_A_TASK)
        raise WrongError(NOT_OURS)
    digest = keys.digest(credential)
    if known_only and not keys.is_known(key_id, digest):
        raise WrongError(UNKNOWN)  # perhaps not; to know, the database would have to be asked
    known = await keys.find(key_id)
    if known is not None and not known.is_opened_by(digest):
        # Another worker may just have rotated it, and the owner tries what they were shown.
        known = await keys.find_now(key_id)
    now = timezone.now()
    # An id that does not exist is judged like any other, so that the time taken does not tell.
    principal = judge(known or NO_KEY, digest, now=now)
    if keys.used(key_id, now):
        _write_down(key_id, now)
    return principal


async def _bearer(token: str) -> Principal:
    """Whose token it is. Made-up ones cost no read, so they need not be known here before."""
    if not settings.OIDC_ISSUERS:
        raise WrongError(NO_TOKENS)
    try:
        return await tokens.owner(token)
    except jwt.OverError as error:
        raise ClosedError(str(error)) from error
    except jwt.TokenError as error:
        raise WrongError(str(error)) from error


def judge(known: keys.KnownKey, digest: bytes, *, now: datetime) -> Principal:
    """The key's owner, if `digest` is that of its secret and nothing has ended by `now`."""
    if not known.is_opened_by(digest):
        raise WrongError(UNKNOWN)
    if reason := _closed(known, digest != known.digest, now):
        raise ClosedError(f"This API key {reason}")
    return known.principal


async def still_open(key_id: str, organization_id: UUID) -> Principal:
    """The owner of a key that was shown before, or whoever showed a token for this organization.

    Raises ClosedError where it opens nothing now.
    """
    if key_id.startswith(IDENTITY_MARK):
        principal = await tokens.still_open(key_id, organization_id)
        if principal is None:
            raise ClosedError("Whoever this is for may use this gateway no more")
        return principal
    known = await keys.find(key_id)
    if known is None:
        raise ClosedError("This API key was deleted")
    if reason := _closed(known, False, timezone.now()):
        raise ClosedError(f"This API key {reason}")
    return known.principal


def _closed(known: keys.KnownKey, is_former: bool, now: datetime) -> str | None:
    """Why a key with the right secret opens nothing, if so."""
    if known.revoked_at is not None:
        return f"was revoked on {known.revoked_at:%Y-%m-%d}"
    if known.expires_at is not None and known.expires_at <= now:
        return f"expired on {known.expires_at:%Y-%m-%d}"
    if is_former and known.former_until is not None and known.former_until <= now:
        return f"was rotated; its former secret ended on {known.former_until:%Y-%m-%d}"
    if not known.user_active:
        return "belongs to a user who is deactivated"
    if not known.user_belongs:
        return "belongs to a user who left its organization"
    return None


# One thread: SQLite has one writer, and nobody waits for these.
_writer = ThreadPoolExecutor(1, thread_name_prefix="key-use")
_under_way: set[Future[None]] = set()


def _write_down(key_id: str, now: datetime) -> None:
    if len(_under_way) >= WRITES_WAITING:
        return
    # A future of the thread pool, not a task of the loop: a sync page's loop ends with its answer
    # and would take the task along.
    writing = _writer.submit(keys.write_use, key_id, now)
    _under_way.add(writing)
    writing.add_done_callback(_under_way.discard)
