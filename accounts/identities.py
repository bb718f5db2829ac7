"""People as tokens tell of them: users, their organizations, and what staff may do."""

import logging
import secrets
import string
from collections.abc import Collection

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.claims import NAME_CHARS, Claims
from accounts.models import Identity, Membership, Organization
from accounts.principal import IDENTITY_MARK

log = logging.getLogger(__name__)

_ALPHABET = string.ascii_lowercase + string.digits
_ID_CHARS = 12
SAVED = ["email", "first_name", "last_name", "is_staff", "is_superuser", "password"]
_TRIES = 3  # somebody may be known by another request at the same moment

# What an organization's role is called elsewhere.
ROLES = {
    "owner": Membership.Role.OWNER,
    "admin": Membership.Role.ADMIN,
    "administrator": Membership.Role.ADMIN,
    "member": Membership.Role.MEMBER,
    "user": Membership.Role.MEMBER,
}
# Of our own client at Keycloak; each is a group of the same name here.
GROUPS = frozenset({"viewer", "operator", "billing", "owner"})


def known(claims: Claims) -> Identity | None:
    """Who this is, if they were here before."""
    found = Identity.objects.select_related("user")
    return found.filter(issuer=claims.issuer, subject=claims.subject).first()


def met(claims: Claims) -> Identity:
    """Who this is. Somebody new becomes a user, in the organizations that their token names.

    Never one of the users that are there already, whatever name or address the token has.
    """
    for _ in range(_TRIES):
        if found := known(claims):
            return found
        try:
            with transaction.atomic():
                found = _new(claims)
                _belong(found.user, claims)
                return found
        except IntegrityError:  # another request met them first, or took the name
            continue
    raise RuntimeError("an identity could not be stored")


def signed_in(claims: Claims) -> Identity:
    """The same at a sign-in, when everything the token says holds from now on, also what it does
    not say any more."""
    identity = met(claims)
    with transaction.atomic():
        user = identity.user
        user.email, user.first_name = claims.email, claims.first_name
        user.last_name = claims.last_name
        _grant(user, claims.roles)
        if user.has_usable_password():  # it would be a way in past Keycloak
            user.set_unusable_password()
        # Not the whole row: somebody may deactivate them just now.
        user.save(update_fields=SAVED)
        _belong(user, claims)
        Identity.objects.filter(pk=identity.pk).update(
            seen_at=timezone.now(), claimed_at=claims.issued_at
        )
    return identity


def _new(claims: Claims) -> Identity:
    user = User(username=_free_name(claims), email=claims.email)
    user.first_name, user.last_name = claims.first_name, claims.last_name
    user.set_unusable_password()
    user.save()
    chosen = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS - len(IDENTITY_MARK)))
    identity = Identity.objects.create(
        id=IDENTITY_MARK + chosen,
        user=user,
        issuer=claims.issuer,
        subject=claims.subject,
        claimed_at=claims.issued_at,
    )
    details = {"issuer": claims.issuer, "subject": claims.subject, "username": user.username}
    audit.record("user.met", f"user:{user.pk}", audit.SYSTEM, None, details)
    return identity


def _free_name(claims: Claims) -> str:
    """The name at Keycloak, or with something behind it where somebody here has that name."""
    wanted = claims.username or claims.email or claims.subject
    if not User.objects.filter(username__iexact=wanted[:NAME_CHARS]).exists():
        return wanted[:NAME_CHARS]
    return f"{wanted[: NAME_CHARS - 9]}~{secrets.token_hex(4)}"


def _grant(user: User, roles: Collection[str]) -> None:
    """What staff may do is what the roles say now."""
    was = _rights(user)
    own = GROUPS & set(roles)
    user.is_staff = settings.OIDC_STAFF_ROLE in roles or bool(own)
    user.is_superuser = bool(settings.OIDC_SUPERUSER_ROLE) and settings.OIDC_SUPERUSER_ROLE in roles
    user.is_staff |= user.is_superuser
    groups = {group.name: group for group in Group.objects.filter(name__in=GROUPS)}
    if missing := own - groups.keys():
        log.warning("no group is called %s: run manage.py migrate", ", ".join(sorted(missing)))
    user.groups.remove(*(group for name, group in groups.items() if name not in own))
    user.groups.add(*(group for name, group in groups.items() if name in own))
    now = _rights(user)
    if now != was:
        changed = {name: [was[name], now[name]] for name in now if was[name] != now[name]}
        audit.record("user.granted", f"user:{user.pk}", audit.SYSTEM, None, {"changed": changed})


def _rights(user: User) -> dict[str, object]:
    groups = user.groups.filter(name__in=GROUPS).values_list("name", flat=True)
    return {
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
        "groups": sorted(groups),
    }


def moved(claims: Claims) -> None:
    """Somebody known shows a token that names other organizations than the last one.

    A token lives on when the next one is there already: only the newest counts.
    """
    identity = met(claims)
    older = Identity.objects.filter(pk=identity.pk, claimed_at__lt=claims.issued_at)
    with transaction.atomic():
        if older.update(claimed_at=claims.issued_at) == 1:
            _belong(identity.user, claims)


def _belong(user: User, claims: Claims) -> None:
    """Be a member where the token says so, and no longer where an earlier one did."""
    named = [_named(claims.issuer, name) for name in claims.organizations]
    if not named and settings.OIDC_DEFAULT_ORGANIZATION:
        named = [_default()]
    if not named:
        log.warning("the token of user %s names no organization", user.pk)
    gone = Membership.objects.filter(user=user, by_claims=True).exclude(organization__in=named)
    for place in gone.select_related("organization"):
        _told("membership.ended", place)
    gone.delete()
    role = ROLES.get(claims.role.lower(), Membership.Role.MEMBER)
    for organization in named:
        _join(user, organization, role, follows=bool(settings.OIDC_CLAIMS.role))


def _join(user: User, organization: Organization, role: str, *, follows: bool) -> None:
    place, is_new = Membership.objects.get_or_create(
        user=user, organization=organization, defaults={"role": role, "by_claims": True}
    )
    # Who was made a member by hand keeps that place and its role.
    is_other = follows and place.by_claims and place.role != role
    if is_other:
        place.role = role
        place.save(update_fields=["role"])
    if is_new or is_other:
        _told("membership.claimed", place)


def _named(issuer: str, name: str) -> Organization:
    found, is_new = Organization.objects.get_or_create(
        issuer=issuer, external_id=name, defaults={"name": name}
    )
    if is_new:
        subject = f"organization:{found.pk}"
        audit.record("organization.claimed", subject, audit.SYSTEM, found, {"name": name})
    return found


def _default() -> Organization:
    """The one for all whose tokens name none."""
    name = settings.OIDC_DEFAULT_ORGANIZATION
    found = Organization.objects.filter(name=name).order_by("created_at", "pk").first()
    return found or Organization.objects.create(name=name)


def _told(action: str, place: Membership) -> None:
    subject, details = f"user:{place.user_id}", {"role": place.role}
    audit.record(action, subject, audit.SYSTEM, place.organization, details)
