"""Organizations, their members and their API keys, on Django's own User."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.principal import OF_PROGRAMS


class Organization(models.Model):
    """Who pays: the tenant that keys, usage and routes belong to."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # Whose tokens name it, and how. Another issuer may call a tenant of its own the same.
    issuer = models.CharField(max_length=255, blank=True, default="", db_default="")
    external_id = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="As Keycloak's tokens name it; whoever's token does is a member.",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "external_id"],
                condition=~models.Q(external_id=""),
                name="one_organization_by_each_name",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's place in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    by_claims = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="It came with a sign-in at Keycloak, and goes with one that names it no more.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_each"),
            models.CheckConstraint(
                condition=models.Q(role__in=["owner", "admin", "member"]), name="a_known_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


def all_scopes() -> list[str]:
    """All that a program may need. Its name is older, and stands in a migration."""
    return list(OF_PROGRAMS)


class ApiKey(models.Model):
    """A key as it is stored: its public id and the HMAC of the whole, never the secret."""

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    scopes = models.JSONField(default=all_scopes)
    is_service = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A program's key: its limits are its own, not shared with its user's other keys.",
    )
    tags = models.JSONField(
        default=list, blank=True, help_text="For requests that bring no x-opscenter-tags."
    )
    digest = models.BinaryField(max_length=32, editable=False)
    # After a rotation the former secret still opens until this moment.
    former_digest = models.BinaryField(max_length=32, null=True, editable=False)
    former_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                name="a_former_secret_has_an_end",
                condition=models.Q(former_digest__isnull=True, former_until__isnull=True)
                | models.Q(former_digest__isnull=False, former_until__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def prefix(self) -> str:
        """What may be shown of the key at any time, to tell it from others."""
        return f"sk-uc-{self.id}-…"

    def status(self, *, now: datetime) -> str:
        """Active, expired or revoked. Revoked says more than expired, so it wins."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


class Identity(models.Model):
    """Who a user is at an issuer: nobody is known by an e-mail address, which may change hands."""

    # Stands where a key's id stands, and is none: those begin with a letter or a digit.
    id = models.CharField(primary_key=True, max_length=12, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    seen_at = models.DateTimeField(null=True, help_text="The last sign-in.")
    # When the newest token was issued whose organizations hold: an older one undoes nothing.
    claimed_at = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Seconds since 1970, as tokens count."
    )
    # A token that was issued before this moment opens nothing.
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_identity_each")
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.subject} at {self.issuer})"


class OidcSession(models.Model):
    """A session at Keycloak: which of ours it opened, and whether it is over."""

    identity = models.ForeignKey(Identity, models.CASCADE, related_name="sessions")
    sid = models.CharField(max_length=255)
    session_key = models.CharField(max_length=40, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity", "sid", "session_key"], name="one_oidc_session_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.sid} of {self.identity_id}"


class AuditEntry(models.Model):
    """One thing that somebody did. Rows are added, never changed."""

    organization = models.ForeignKey(Organization, models.PROTECT, null=True, db_constraint=False)
    at = models.DateTimeField(db_default=Now(), editable=False)
    actor = models.CharField(max_length=200, help_text="user:<id> or key:<id> or system")
    action = models.CharField(max_length=100, help_text="For example: key.created")
    subject = models.CharField(
        max_length=200, help_text="What it was done to, for example key:<id>"
    )
    details = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["organization", "-at"], name="audit_by_organization")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.subject}"
