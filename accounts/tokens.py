"""A bearer token from Keycloak in, `Principal` out."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts import claims as said
from accounts import identities, jwt
from accounts.claims import Claims
from accounts.jwt import OverError
from accounts.memory import Memory
from accounts.models import Identity, Membership, OidcSession
from accounts.principal import OF_PROGRAMS, Principal
from accounts.reads import off_loop

PEOPLE_IN_MEMORY = 20_000  # about 20 MB

NOWHERE = (
    "Your account belongs to no organization here: its token names none."
    " Ask an operator to make you a member"
)
GONE = "This token belongs to a user who is deactivated"
ENDED = "This token belongs to a session that has ended; sign in again"


@dataclass(frozen=True, slots=True)
class Whose:
    """What the rows that a token is judged by are found by."""

    issuer: str
    subject: str
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    organization_id: UUID
    issuer: str
    external_id: str
    by_claims: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the rows say of a person."""

    id: str
    user_id: int
    is_active: bool
    claimed_at: int
    ended_at: datetime | None
    is_session_over: bool
    places: tuple[Place, ...]  # the oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a connection that lives on keeps of the token it began with."""

    whose: Whose
    issued_at: int
    expires_at: int


async def claims_of(token: str) -> Claims:
    """What an access token says. Raises jwt.TokenError, jwt.KeysAwayError."""
    return said.read(await jwt.access(token), settings.OIDC_CLAIMS)


async def owner(token: str) -> Principal:
    """Whose token it is. Who was never here before is from now on.

    Raises jwt.TokenError, jwt.KeysAwayError and accounts.reads.DatabaseAwayError.
    """
    claims = await claims_of(token)
    known = await _people.get(whose(claims))
    if known is None or _has_moved(known, claims):
        await (_meet if known is None else _move)(claims)
        _people.forget(whose(claims))
        known = await _people.get(whose(claims))
    if known is None or (reason := _closed(known, claims.issued_at)):
        raise OverError(GONE if known is None else reason)
    place = _place(known, claims)
    if place is None:
        raise OverError(NOWHERE)
    return _principal(known, place)


async def still_open(identity_id: str, organization_id: UUID) -> Principal | None:
    """The principal of somebody who showed a token before; None where they may do nothing there
    now."""
    known = await _read_by_id(identity_id)
    if known is None or _closed(known, None):
        return None
    place = next((one for one in known.places if one.organization_id == organization_id), None)
    return _principal(known, place) if place else None


async def closed(held: Held) -> str | None:
    """Why a token that was shown before opens nothing now, if so."""
    if timezone.now().timestamp() > held.expires_at:
        return "This token has expired; come back with a new one"
    known = await _read(held.whose)
    return GONE if known is None else _closed(known, held.issued_at)


def held(claims: Claims) -> Held:
    """What a connection keeps of the token that it showed."""
    return Held(whose=whose(claims), issued_at=claims.issued_at, expires_at=claims.expires_at)


def whose(claims: Claims) -> Whose:
    return Whose(claims.issuer, claims.subject, claims.session)


def _closed(known: Known, issued_at: int | None) -> str | None:
    if not known.is_active:
        return GONE
    # In whole seconds, as tokens count: one of the same second is of before.
    is_of_before = (
        issued_at is not None
        and known.ended_at is not None
        and issued_at <= known.ended_at.timestamp() + jwt.LEEWAY_S
    )
    if known.is_session_over or is_of_before:
        return ENDED
    return None if known.places else NOWHERE


def _principal(known: Known, place: Place) -> Principal:
    return Principal(
        organization_id=place.organization_id,
        user_id=known.user_id,
        key_id=known.id,
        scopes=frozenset(OF_PROGRAMS),
    )


def _has_moved(known: Known, claims: Claims) -> bool:
    """Whether the token is newer, and names others than the places that an earlier one gave."""
    if claims.issued_at <= known.claimed_at:
        return False
    places = [one for one in known.places if one.by_claims and one.issuer == claims.issuer]
    named = set(claims.organizations)
    there = {one.external_id for one in known.places if one.issuer == claims.issuer}
    return bool(named) and (not named <= there or any(p.external_id not in named for p in places))


def _place(known: Known, claims: Claims) -> Place | None:
    """Where the person acts: the first organization that the token names, else the oldest that
    they were given here. Not one that another token named."""
    by_name = {one.external_id: one for one in known.places if one.issuer == claims.issuer}
    named = [by_name[name] for name in claims.organizations if name in by_name]
    given = [one for one in known.places if not one.by_claims or not one.external_id]
    return next(iter([*named, *given]), None)


def _load(of: Whose) -> Known | None:
    found = Identity.objects.select_related("user").filter(issuer=of.issuer, subject=of.subject)
    return _known(found.first(), of.session)


def _load_by_id(identity_id: str) -> Known | None:
    return _known(Identity.objects.select_related("user").filter(pk=identity_id).first(), "")


def _known(identity: Identity | None, session: str) -> Known | None:
    if identity is None:
        return None
    places = Membership.objects.filter(user=identity.user).select_related("organization")
    over = OidcSession.objects.filter(identity=identity, sid=session, ended_at__isnull=False)
    return Known(
        id=identity.pk,
        user_id=identity.user_id,
        is_active=identity.user.is_active,
        claimed_at=identity.claimed_at,
        ended_at=identity.ended_at,
        is_session_over=bool(session) and over.exists(),
        places=tuple(
            Place(
                organization_id=place.organization_id,
                issuer=place.organization.issuer,
                external_id=place.organization.external_id,
                by_claims=place.by_claims,
            )
            for place in places.order_by("created_at", "pk")
        ),
    )


_meet = off_loop(identities.met)
_move = off_loop(identities.moved)
_read = off_loop(_load)
_read_by_id = off_loop(_load_by_id)
_people: Memory[Whose, Known | None] = Memory(
    _read, ttl_s=settings.MEMORY_TTL_S, most=PEOPLE_IN_MEMORY
)
