"""Credentials at rest, the operators' and the organizations' own: how they stand, and every change.

Each change leaves a line in the audit trail, in the same transaction and without the credential.
"""

from dataclasses import dataclass, field

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts import audit, sealed, trail
from accounts.models import Organization
from proxy.models import OwnCredential, Route, Upstream

STORED = "credential.stored"
FORGOTTEN = "credential.forgotten"
RESEALED = "credential.resealed"


def state(upstream: Upstream) -> str:
    """Where its credential comes from, in a few words."""
    if upstream.credential_sealed:
        why = "no key fits" if settings.ENCRYPTION_KEYS else "no key is set"
        return f"cannot be decrypted: {why}" if problem(upstream) else "stored"
    name = upstream.credential_variable
    if name:
        return f"${name}" if settings.READ_CREDENTIAL(name) else f"${name} (unset)"
    return "none"


def problem(row: Upstream | OwnCredential) -> str:
    """Why its stored credential cannot be used, empty where nothing is wrong."""
    if not row.credential_sealed:
        return ""
    try:
        sealed.opened(row.credential_sealed)
    except sealed.SealedError as error:
        return str(error)
    return ""


def recorded(upstream: Upstream, had: str, actor: str) -> None:
    """Record that a saved upstream has another stored credential than `had`, if it has."""
    if upstream.credential_sealed != had:
        action = STORED if upstream.credential_sealed else FORGOTTEN
        audit.record(action, trail.subject(upstream), actor, None, {"name": upstream.name})


def open_to(organizations: QuerySet[Organization] | list[Organization]) -> QuerySet[Upstream]:
    """The upstreams that routes lead one of these to, and that take a credential."""
    routes = Route.objects.filter(
        Q(organization=None) | Q(organization__in=organizations),
        upstream=OuterRef("pk"),
        enabled=True,
    )
    usable = Upstream.objects.filter(Exists(routes), enabled=True)
    return usable.exclude(kind=Upstream.Kind.DEMO).order_by("name")


def store_own(
    organization: Organization, upstream: Upstream, credential: str, actor: str
) -> OwnCredential:
    """Keep an organization's own credential. Raises sealed.SealedError."""
    new = OwnCredential(organization=organization, upstream=upstream)
    new.store(credential)
    with transaction.atomic():
        kept, _ = OwnCredential.objects.update_or_create(
            organization=organization,
            upstream=upstream,
            defaults={
                "credential_sealed": new.credential_sealed,
                "fingerprint": new.fingerprint,
            },
        )
        _record_own(STORED, kept, actor)
    return kept


def forget_own(own: OwnCredential, actor: str) -> None:
    """Remove an organization's own credential; the operator's answers from then on."""
    with transaction.atomic():
        if OwnCredential.objects.filter(pk=own.pk).delete()[0]:
            _record_own(FORGOTTEN, own, actor)


def _record_own(action: str, own: OwnCredential, actor: str) -> None:
    details = {"name": own.upstream.name, "own": True, "fingerprint": own.fingerprint}
    audit.record(action, trail.subject(own.upstream), actor, own.organization, details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """What came of encrypting all anew."""

    done: int = 0
    stuck: list[str] = field(default_factory=list)  # the rows that no key fits


def reseal_all() -> Resealed:
    """Encrypt every stored credential under the newest key, in one transaction."""
    done, stuck = 0, []
    with transaction.atomic():
        for upstream in Upstream.objects.exclude(credential_sealed="").order_by("name"):
            if _reseal(upstream):
                done += 1
            else:
                stuck.append(f"upstream {upstream}")
        every = OwnCredential.objects.select_related("organization", "upstream")
        for own in every.order_by("upstream__name", "id"):
            if _reseal(own):
                done += 1
            else:
                stuck.append(f"own credential of {own}")
        if done:
            audit.record(RESEALED, "credentials", audit.SYSTEM, None, {"count": done})
    return Resealed(done=done, stuck=stuck)


def _reseal(row: Upstream | OwnCredential) -> bool:
    try:
        fresh = sealed.resealed(row.credential_sealed)
    except sealed.SealedError:
        return False
    # One that was stored anew meanwhile is under the newest key already, and must not be undone.
    rows = type(row)._default_manager.filter(pk=row.pk, credential_sealed=row.credential_sealed)
    rows.update(credential_sealed=fresh)
    return True
