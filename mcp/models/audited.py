"""What is kept of every call that ended, in a chain for each organization."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization


class AuditedCall(models.Model):
    """One call that ended. Only `mcp.auditing` writes it; a trigger of the migrations keeps it.

    It refers to nothing that may be deleted, so it says names beside ids. `mcp.chain` says what of
    it the hash covers.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="audited_calls", db_constraint=False
    )
    number = models.PositiveBigIntegerField(help_text="In the organization's chain, from 1")
    previous = models.CharField(max_length=64, blank=True, help_text="Hash of the row before")
    hash = models.CharField(max_length=64)
    call = models.UUIDField(unique=True, help_text="Its id; the call itself is deleted some day")
    # Not a JSONField: a database may write JSON anew, and the hash is of these very bytes.
    told = models.TextField(help_text="What is known of it, as JSON")
    written_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "audited call"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "number"], name="one_audited_call_a_number"
            ),
            models.CheckConstraint(condition=Q(number__gte=1), name="audit_counts_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.call}"
