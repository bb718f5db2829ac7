"""Credentials of organizations' own for upstreams."""

from django.db import models
from django.db.models.functions import Now

from accounts import sealed
from accounts.models import Organization
from proxy.models.routes import Upstream


class OwnCredential(models.Model):
    """An organization's own credential for an upstream, used instead of the operator's."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="own_credentials")
    upstream = models.ForeignKey(Upstream, models.CASCADE, related_name="own_credentials")
    credential_sealed = models.TextField(editable=False)
    fingerprint = models.CharField(max_length=8, editable=False)  # tells one from another
    updated_at = models.DateTimeField(auto_now=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "upstream"], name="one_own_credential_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization} at {self.upstream}"

    def store(self, credential: str) -> None:
        """Keep `credential` encrypted. Raises sealed.SealedError."""
        self.credential_sealed = sealed.seal(credential)
        self.fingerprint = sealed.fingerprint(credential)
